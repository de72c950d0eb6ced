//! Runs a property on its corpus and then on random inputs. A failing input is shrunk and added to the corpus.
//!
//! `PROPERTY_CASES` sets the number of random inputs for a cheap property; a costly one gets fewer.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestError, TestRunner},
};

/// Default number of random inputs, small enough for the test command.
const CASES: u32 = 2000;

/// Checks a property of `parser`; `property` panics where it does not hold. `cost` divides the number of random inputs.
pub(crate) fn hold(parser: &str, cost: u32, inputs: impl Strategy<Value = Vec<u8>>, property: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(parser);
    let files = fs::read_dir(&folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort_unstable();
    assert!(!files.is_empty(), "{parser}: the corpus is empty");
    for file in files {
        let input = fs::read(&file).expect("a file");
        let held = catch_unwind(AssertUnwindSafe(|| property(&input)));
        assert!(held.is_ok(), "the property does not hold for {}", file.display());
    }

    let cases = std::env::var("PROPERTY_CASES").map_or(CASES, |text| text.parse().expect("PROPERTY_CASES is a number"));
    let config = Config {
        cases: (cases / cost).max(1),
        // Failing inputs go to the corpus below instead.
        failure_persistence: None,
        ..Config::default()
    };
    let tried = TestRunner::new(config).run(&inputs, |input| {
        property(&input);
        Ok(())
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Abort(why)) => panic!("{parser}: {why}"),
        Err(TestError::Fail(why, input)) => {
            let mut hasher = DefaultHasher::new();
            input.hash(&mut hasher);
            let file = folder.join(format!("found-{:016x}", hasher.finish()));
            fs::write(&file, &input).expect("the corpus is writable");
            panic!("{}: {why}: {:?}", file.display(), String::from_utf8_lossy(&input));
        }
    }
}
