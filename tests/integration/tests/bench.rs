//! The benchmark runs: each row gives a figure by each of its ways, or says what is not installed. How large it is nobody asks here.

use integration::{built, limited_to, stdout};
use serde_json::Value;

#[test]
fn every_row_gives_its_figures() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("bench.json");
    let table = stdout(limited_to(300, built("bench")).args(["--quick", "--json"]).arg(&report));
    let json: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    assert!(rows.len() > 50, "{table}");
    for row in rows {
        let name = row["name"].as_str().unwrap();
        assert!(table.contains(name), "{name} is not in the table");
        for (way, found) in row["ways"].as_object().unwrap() {
            match found["failed"].as_str() {
                Some(why) => assert!(why.ends_with("is not installed"), "{name}, {way}: {why}"),
                None => assert!(found["median"].as_f64().is_some_and(|figure| figure > 0.0), "{name}, {way}: {found}"),
            }
        }
        let held = row["bounds"].as_array().unwrap().iter().all(|bound| bound["holds"].is_boolean());
        assert!(held, "{name}: {}", row["bounds"]);
    }
    let passing = json["host calls passing by"].as_array().unwrap();
    assert!(passing.len() > 100 && passing.iter().all(|call| call["native ns"].as_f64().is_some_and(|ns| ns > 0.0)));
}

#[test]
fn rows_are_chosen_by_a_part_of_their_names() {
    let listed = stdout(limited_to(60, built("bench")).args(["--list", "64 KiB"]));
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split("  ").last()).map(str::trim).collect();
    assert_eq!(names, ["read 64 KiB", "write 64 KiB"]);
    let none = limited_to(60, built("bench")).arg("no such row").output().unwrap();
    assert_eq!(none.status.code(), Some(2));
}
