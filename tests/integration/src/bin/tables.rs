//! Writes the generated section of `docs/COMPATIBILITY.md`, or prints the Debian packages that the table of programs needs.

use std::collections::BTreeSet;
use std::process::ExitCode;

use integration::programs::{all, page};

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        None => std::fs::read_to_string(page::PATH).and_then(|old| std::fs::write(page::PATH, page::renew(&old))),
        Some("packages") => {
            let packages: BTreeSet<_> = all().flat_map(|row| row.packages()).collect();
            println!("{}", packages.into_iter().collect::<Vec<_>>().join(" "));
            Ok(())
        }
        Some(_) => {
            eprintln!("tables: usage: tables [packages], in the root of the repository");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = done {
        eprintln!("tables: {}: {error}", page::PATH);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
