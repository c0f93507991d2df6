#!/usr/bin/env bash
# Installs what building Leafresh needs and the machine lacks; with --test also what its tests need.
# Debian and Ubuntu: with apt-get. Elsewhere: says what to install. Takes a moment when everything is there.
set -euo pipefail

readonly RUST_NEEDED=1.95
readonly CARGO_DENY_VERSION=0.20.2
# Clients that the tests read streams with; kept beside the builds and the models.
readonly EVENTSOURCE_VERSION=4.1.0 HTTPX_SSE_VERSION=0.4.3 AXE_CORE_VERSION=4.14.1
# And clients of OpenAI's API.
readonly OPENAI_NPM_VERSION=7.59.0 OPENAI_PYTHON_VERSION=3.57.0 LANGCHAIN_OPENAI_VERSION=1.7.4
readonly JACKSON=${LEAFRESH_TEST_JACKSON:-/usr/share/java} # where jackson-databind.jar and the two it needs are
readonly CLIENTS=${LEAFRESH_TEST_CLIENTS:-$HOME/.cache/leafresh/clients}

usage() {
  cat <<'EOF'
Usage: scripts/setup.sh [--test] [--check]

  --test    also what `make test` needs: rustfmt, clippy, cargo-deny, a browser with its driver, a Korean font,
            nginx, curl, Java with Jackson, Prometheus, and from registries two clients of server-sent events (npm's
            eventsource, Python's httpx-sse), three of OpenAI's API (openai from both, langchain-openai) and axe-core in
            ~/.cache/leafresh/clients or where LEAFRESH_TEST_CLIENTS says
  --check   install nothing; say what is missing and exit with 1
EOF
}

with_tests=false
check_only=false
for argument in "$@"; do
  case "$argument" in
    --test) with_tests=true ;;
    --check) check_only=true ;;
    -h | --help) usage; exit 0 ;;
    *) echo "setup: unknown argument '$argument'" >&2; usage >&2; exit 2 ;;
  esac
done

say() { echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

have_any() {
  local name
  for name in "$@"; do
    if have "$name"; then return 0; fi
  done
  return 1
}

have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  [ "$(uname)" = Darwin ] && return 0 # part of Xcode's command line tools, as clang is
  local pattern
  for pattern in '/usr/lib/llvm-*/lib' '/usr/lib*' '/usr/lib/*' '/usr/local/lib*'; do
    compgen -G "$pattern/libclang*.so*" >/dev/null && return 0
  done
  return 1
}

have_pip() { have python3 && python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("pip") is None)'; }
have_venv() { have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; }
have_korean_font() { have fc-list && [ -n "$(fc-list :lang=ko family)" ]; }

# What is missing, in words of our own; each system's package for it is looked up below.
missing_parts() {
  have cmake || echo cmake
  have clang || echo clang
  have_libclang || echo libclang
  have g++ || echo g++
  have make || echo make
  have_any pkg-config pkgconf || echo pkg-config
  have python3 || echo python3
  have_pip || echo pip
  if $with_tests; then
    have_any chromium chromium-browser google-chrome || [ -d '/Applications/Google Chrome.app' ] || echo browser
    have_any chromedriver || echo browser-driver
    [ "$(uname)" = Darwin ] || have_korean_font || echo korean-font
    have node || echo node
    have npm || echo npm
    have_venv || echo venv
    have curl || echo curl
    have javac || echo java
    [ -e "$JACKSON/jackson-databind.jar" ] || echo jackson
    have nginx || [ -x /usr/sbin/nginx ] || echo nginx
    # Elsewhere it is taken out of its package, because installing that starts it as a service.
    is_debian || have_prometheus || echo prometheus
  fi
}

# The package for one part: package_for SYSTEM PART
package_for() {
  case "$1:$2" in
    debian:libclang) echo libclang-dev ;;
    debian:pip) echo python3-pip ;;
    debian:browser) echo chromium ;;
    debian:browser-driver) echo chromium-driver ;;
    debian:korean-font) echo fonts-noto-cjk fontconfig ;;
    debian:node) echo nodejs ;;
    debian:venv) echo python3-venv ;;
    debian:nginx) echo nginx-light ;;
    debian:java) echo default-jdk-headless ;;
    debian:jackson) echo libjackson2-databind-java ;;
    ubuntu:browser) echo chromium-browser ;;
    ubuntu:browser-driver) echo chromium-chromedriver ;;
    ubuntu:*) package_for debian "$2" ;;
    fedora:libclang) echo clang-devel ;;
    fedora:g++) echo gcc-c++ ;;
    fedora:pkg-config) echo pkgconf-pkg-config ;;
    fedora:pip) echo python3-pip ;;
    fedora:browser) echo chromium ;;
    fedora:browser-driver) echo chromedriver ;;
    fedora:korean-font) echo google-noto-sans-cjk-fonts fontconfig ;;
    fedora:node | fedora:npm) echo nodejs ;;
    fedora:venv) echo python3 ;;
    fedora:java) echo java-latest-openjdk-devel ;;
    fedora:jackson) echo jackson-databind ;;
    fedora:prometheus) echo golang-github-prometheus ;;
    macos:java) echo openjdk ;;
    macos:python3 | macos:pip | macos:venv) echo python ;;
    macos:npm) echo node ;;
    macos:browser) echo google-chrome ;;
    macos:browser-driver) echo chromedriver ;;
    *) echo "$2" ;;
  esac
}

packages_for() {
  local system=$1 part
  shift
  for part in "$@"; do package_for "$system" "$part"; done | tr ' ' '\n' | sort -u | paste -sd ' ' -
}

system_name() {
  if [ "$(uname)" = Darwin ]; then echo macos; return; fi
  local ID='' ID_LIKE=''
  # shellcheck disable=SC1091
  [ -r /etc/os-release ] && . /etc/os-release
  case " $ID $ID_LIKE " in
    *" ubuntu "*) echo ubuntu ;;
    *" debian "*) echo debian ;;
    *" fedora "* | *" rhel "*) echo fedora ;;
    *) echo other ;;
  esac
}

is_debian() { case "$(system_name)" in debian | ubuntu) ;; *) return 1 ;; esac; }

have_prometheus() { have_any "$CLIENTS/prometheus/prometheus" prometheus && have_any "$CLIENTS/prometheus/promtool" promtool; }

install_with_apt() {
  local packages=$1 as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || die "as root, run: apt-get install $packages"
    as_root=(sudo)
    [ -t 0 ] || as_root=(sudo -n) # without a terminal there is nobody to type a password
  fi
  say "installing $packages"
  local log
  log=$(mktemp)
  # shellcheck disable=SC2086 # a list of package names
  if ! { "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages; } \
    </dev/null >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    die "apt-get failed (its last words are above). As root, run: apt-get update && apt-get install $packages"
  fi
  rm -f "$log"
}

ensure_packages() {
  local parts system packages still
  parts=$(missing_parts | paste -sd ' ' -)
  [ -n "$parts" ] || return 0
  system=$(system_name)
  # shellcheck disable=SC2086 # a list of parts
  packages=$(packages_for "$system" $parts)
  $check_only && die "missing: $parts (packages: $packages)"
  case "$system" in
    debian | ubuntu) install_with_apt "$packages" ;;
    fedora) die "missing: $parts. Run: sudo dnf install $packages" ;;
    macos)
      case " $parts " in
        *" clang "* | *" make "* | *" g++ "*) die "the compiler is missing. Run: xcode-select --install" ;;
      esac
      case " $parts " in
        *" jackson "*) die "missing: the jars jackson-databind, -core and -annotations (put them where LEAFRESH_TEST_JACKSON says)" ;;
      esac
      die "missing: $parts. Run: brew install $packages"
      ;;
    *) die "missing: $parts. Install them with your system's package manager, then try again" ;;
  esac
  still=$(missing_parts | paste -sd ' ' -)
  [ -z "$still" ] || die "still missing after installing $packages: $still"
}

# at_least FOUND NEEDED, compared number by number
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

ensure_rust() {
  export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  have cargo || die "Rust is missing. Install $RUST_NEEDED or newer as https://rustup.rs says, then try again"
  local found
  found=$(rustc --version | cut -d ' ' -f 2)
  at_least "$found" "$RUST_NEEDED" ||
    die "Rust $found is too old: $RUST_NEEDED or newer is needed. Run: rustup update stable"
}

ensure_rust_tools() {
  local component
  for component in rustfmt clippy; do
    have "cargo-${component/rustfmt/fmt}" && continue
    have rustup || die "$component is missing: install your system's package for it, or Rust from https://rustup.rs"
    $check_only && die "missing: $component. Run: rustup component add $component"
    say "installing $component"
    rustup component add "$component"
  done
}

ensure_cargo_deny() {
  local found=''
  if have cargo-deny; then found=$(cargo-deny --version | cut -d ' ' -f 2); fi
  # Another minor version may read deny.toml otherwise.
  case "$found" in "${CARGO_DENY_VERSION%.*}".*) return 0 ;; esac
  $check_only && die "missing: cargo-deny $CARGO_DENY_VERSION (found: ${found:-none})"
  say "installing cargo-deny $CARGO_DENY_VERSION (once, a few minutes)"
  # Its default features are for the advisory database, which the tests don't use. In a target folder of its own, that
  # cargo removes: the project's cache would keep it for ever.
  env -u CARGO_TARGET_DIR cargo install --quiet --locked --force --no-default-features \
    cargo-deny --version "$CARGO_DENY_VERSION"
}

# The versions that are installed are written down, so that nothing is asked of a registry when they fit.
ensure_clients() {
  local wanted="eventsource $EVENTSOURCE_VERSION, httpx-sse $HTTPX_SSE_VERSION, axe-core $AXE_CORE_VERSION"
  wanted+=", npm's openai $OPENAI_NPM_VERSION, openai $OPENAI_PYTHON_VERSION, langchain-openai $LANGCHAIN_OPENAI_VERSION"
  [ "$(cat "$CLIENTS/versions" 2>/dev/null)" = "$wanted" ] && return 0
  $check_only && die "missing: $wanted in $CLIENTS"
  say "installing $wanted"
  mkdir -p "$CLIENTS"
  rm -f "$CLIENTS/versions"
  npm install --silent --no-audit --no-fund --prefix "$CLIENTS/npm" \
    "eventsource@$EVENTSOURCE_VERSION" "axe-core@$AXE_CORE_VERSION" "openai@$OPENAI_NPM_VERSION" >/dev/null
  python3 -m venv --clear "$CLIENTS/python"
  "$CLIENTS/python/bin/pip" install --quiet --disable-pip-version-check "httpx-sse==$HTTPX_SSE_VERSION" httpx \
    "openai==$OPENAI_PYTHON_VERSION" "langchain-openai==$LANGCHAIN_OPENAI_VERSION"
  echo "$wanted" >"$CLIENTS/versions"
}

# Its two programs and nothing else: the package would start a server on this machine.
ensure_prometheus() {
  have_prometheus && return 0
  $check_only && die "missing: prometheus in $CLIENTS/prometheus"
  say "unpacking prometheus"
  local folder
  folder=$(mktemp -d)
  # apt-get downloads as a user of its own, if that may read here.
  chmod 755 "$folder"
  unpack_prometheus "$folder" 2>/dev/null || { update_apt && unpack_prometheus "$folder"; } ||
    die "prometheus could not be downloaded. As root, run: apt-get update; then try again"
  mkdir -p "$CLIENTS/prometheus"
  mv "$folder/usr/bin/prometheus" "$folder/usr/bin/promtool" "$CLIENTS/prometheus/"
  rm -rf "$folder"
}

unpack_prometheus() {
  (cd "$1" && apt-get download -qq prometheus >/dev/null && dpkg-deb --extract ./prometheus_*.deb .)
}

# The list of packages may be missing, or too old.
update_apt() {
  case "$(id -u)" in
    0) apt-get update -qq >/dev/null ;;
    *) sudo -n apt-get update -qq >/dev/null ;;
  esac
}

ensure_packages
ensure_rust
if $with_tests; then
  ensure_rust_tools
  ensure_cargo_deny
  ensure_clients
  if is_debian; then ensure_prometheus; fi
fi
say "everything is there"
