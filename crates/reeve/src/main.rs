//! The `reeve` program. All of it is in the library beside it, which can be built while the crates below still are.
use std::process::ExitCode;

fn main() -> ExitCode {
    reeve::main()
}
