//! The program `tidemark-server`.

fn main() -> std::process::ExitCode {
    tidemark_server::cli::main()
}
