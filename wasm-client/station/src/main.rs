//! The program `tidemark`.

fn main() -> std::process::ExitCode {
    tidemark_station::cli::main()
}
