//! What holds for every input: first for the corpus, then for random inputs. One that fails is made as small as it goes
//! and joins the corpus.
//!
//! `PROPERTY_CASES` says how many random inputs there are: that many for a cheap property, fewer for a costly one.

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

/// Few enough for the test command.
const CASES: u32 = 2000;

/// Checks a property of `parser`, which panics where it does not hold. `cost`: how many cheap properties it is like.
pub(crate) fn hold(parser: &str, cost: u32, inputs: impl Strategy<Value = Vec<u8>>, property: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(parser);
    let files = fs::read_dir(&folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort_unstable();
    assert!(!files.is_empty(), "{parser}: no corpus");
    for file in files {
        let input = fs::read(&file).expect("a file");
        let held = catch_unwind(AssertUnwindSafe(|| property(&input)));
        assert!(held.is_ok(), "it does not hold for {}", file.display());
    }

    let cases = std::env::var("PROPERTY_CASES").map_or(CASES, |text| text.parse().expect("PROPERTY_CASES is a number"));
    let config = Config {
        cases: (cases / cost).max(1),
        // The corpus takes what fails.
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
            fs::write(&file, &input).expect("the corpus can be written to");
            panic!("{}: {why}: {:?}", file.display(), String::from_utf8_lossy(&input));
        }
    }
}
