//! The stack packet by packet, in the manner of packetdrill: a script says what a program calls, what arrives and what must leave, and
//! when. The scripts stand in `packets/scripts`; their language is explained in `packets/script.rs`.

#[path = "packets/device.rs"]
mod device;
#[path = "packets/frames.rs"]
mod frames;
#[path = "packets/machine.rs"]
mod machine;
#[path = "packets/script.rs"]
mod script;

use std::path::Path;

/// All scripts are run; each that fails says the line and what came instead.
#[test]
fn segments_are_as_the_scripts_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packets/scripts");
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 100, "only {} scripts", names.len());
    let failed: Vec<String> = names
        .iter()
        .filter_map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let lines = script::parse(&std::fs::read_to_string(path).unwrap());
            let run = lines.and_then(|lines| machine::run(&lines));
            run.err().map(|error| format!("{name}: {error}"))
        })
        .collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), names.len(), failed.join("\n"));
}
