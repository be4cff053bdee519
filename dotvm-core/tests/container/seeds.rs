//! The seeds of the fuzz targets are the files of the samples. `BLESS=1` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dotvm_core::container::write;

use crate::samples;

#[test]
fn seeds_are_the_files_of_the_samples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds");
    let expected: BTreeMap<String, Vec<u8>> = samples::all()
        .iter()
        .map(|(name, module)| (format!("{name}-{}.dotvm", module.width), write(module).unwrap()))
        .collect();
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in &expected {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let found: BTreeMap<String, Vec<u8>> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    assert!(
        found == expected,
        "tests/fuzz/seeds is out of date: run this test with BLESS=1, and delete other files"
    );
}
