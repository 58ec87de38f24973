//! What the README claims and can be checked.

use rivulet::settings::table;

#[test]
fn the_readme_lists_every_setting_as_it_is() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let table = table::markdown();
    assert!(
        readme.contains(table.trim()),
        "the README's settings table should be:\n{table}"
    );
}
