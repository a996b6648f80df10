//! The section "Programs" of `docs/COMPATIBILITY.md`, made from the rows.

use std::fmt::Write;

use super::place::ROOT;
use super::{Program, all};

/// The page, from the root of the repository.
pub const PATH: &str = "docs/COMPATIBILITY.md";

const BEGIN: &str = "<!-- programs: made by `make tables` from tests/integration/src/programs -->\n";
const END: &str = "<!-- programs: end -->\n";

/// Returns `page` with its section "Programs" as the rows have it now; what stands outside the marks stays.
///
/// A page without the marks gets the section at its end.
pub fn renew(page: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).unwrap_or((page, ""));
    let after = rest.split_once(END).map_or("", |(_, after)| after);
    let gap = if before.is_empty() || before.ends_with("\n\n") { "" } else { "\n" };
    format!("{before}{gap}{BEGIN}{}{END}{after}", section())
}

fn section() -> String {
    let mut text = String::from(
        "## Programs\n\n\
         Debian's programs, unmodified. `make test` runs the work of each row once on the host and once hijacked on each of the\n\
         named kernels (`private`: the launcher's own; `unix`, `tcp`: a `rump_server`), and both must print the same.\n",
    );
    let mut family = "";
    for row in all() {
        if row.family != family {
            family = row.family;
            write!(text, "\n### {}\n\n", heading(family)).unwrap();
            text.push_str("| program | does | kernels | Debian packages |\n|---|---|---|---|\n");
        }
        let Program { name, does, .. } = row;
        writeln!(text, "| {name} | {does} | {} | {} |", kernels(row), row.packages().join(" ")).unwrap();
    }
    text.push('\n');
    text
}

fn heading(family: &str) -> String {
    let (first, rest) = family.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

/// The kernels of a row, and the file systems if it is not on the root alone, as the page and the runner's report name them.
pub fn kernels(row: &Program) -> String {
    let kernels = row.on.iter().map(|transport| format!("{transport:?}").to_lowercase()).collect::<Vec<_>>().join(", ");
    let places = row.at.iter().map(|place| place.name()).collect::<Vec<_>>().join(", ");
    if row.at == ROOT { kernels } else { format!("{kernels}; on {places}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_agrees_with_the_rows() {
        let path = format!("{}/../../{PATH}", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(&path).expect(PATH);
        assert!(page == renew(&page), "{PATH} is stale: run `make tables`");
    }

    #[test]
    fn what_stands_around_the_section_stays() {
        let page = format!("# Top\n\n{BEGIN}STALE\n{END}\n## Below\n");
        let new = renew(&page);
        assert!(new.starts_with("# Top\n\n<!-- programs") && new.ends_with("end -->\n\n## Below\n"), "{new}");
        assert!(!new.contains("STALE") && renew(&new) == new);
        assert!(renew("# Top\n").starts_with("# Top\n\n<!--"));
    }
}
