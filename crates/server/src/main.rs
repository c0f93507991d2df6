//! `leafresh`: see `leafresh --help`.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    leafresh::cli::main()
}
