# What llama.cpp is built for on 64-bit ARM under Linux: CMAKE_PROJECT_INCLUDE=scripts/arm64.cmake (an absolute path) has
# cmake read this. The crate that builds llama.cpp asks for plain armv8-a whatever CFLAGS say, unless Rust builds for the
# processor at hand (RUSTFLAGS="-C target-cpu=native"), which this leaves alone.
#
# GGML_ARM_ARCH in the environment names another one, such as armv8.6-a+dotprod+i8mm.
if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)" AND NOT GGML_NATIVE)
  if(NOT DEFINED GGML_ARM_ARCH)
    set(GGML_ARM_ARCH "armv8.2-a+dotprod")
  endif()
  set(GGML_CPU_ARM_ARCH "${GGML_ARM_ARCH}" CACHE STRING "" FORCE)
  message(STATUS "llama.cpp for ${GGML_CPU_ARM_ARCH}")
endif()
