//! Tests of a torn end of the journal: a batch that a crash cut short was never answered, so it is dropped, and no
//! other change is lost.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use super::used_folder::{Tree, noise, tree, write_tree};
use crate::process::Process;

/// A data folder whose journal ends with the create of one session, after the creates of others.
struct Journal {
    tree: Tree,
    file: PathBuf,
    /// Tokens of the sessions before the last.
    before: Vec<String>,
    last: String,
    /// Where the batch that created `last` begins in the journal, and where it ends.
    start: usize,
    end: usize,
}

fn length(path: &Path) -> usize {
    usize::try_from(path.metadata().expect("a file").len()).expect("a small file")
}

async fn journal() -> Journal {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &[]);
    process.app().create("first").await;
    process.stop();
    // From its second opening on, a journal has no preallocated space after its last batch.
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    let mut before = Vec::new();
    for n in 0..20 {
        let data = format!(r#"{{"noise":"{}"}}"#, noise(100));
        before.push(app.create_with(&format!("user-{n}"), "", &data).await);
    }
    let data = folder.path().join("data");
    let entries = fs::read_dir(data.join("fjall")).expect("a folder");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let path = paths.find(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    let path = path.expect("a journal");
    let file = path.strip_prefix(&data).expect("it is below").to_owned();
    let start = length(&path);
    let last = app
        .create_with("last", "", &format!(r#"{{"noise":"{}"}}"#, noise(300)))
        .await;
    process.kill();
    Journal {
        tree: tree(&data),
        file,
        before,
        last,
        start,
        end: length(&path),
    }
}

impl Journal {
    /// Starts the program twice after `change` to the journal. Both starts must find all sessions before the last, and
    /// agree on the last one. Returns whether they found it.
    async fn start(&self, change: impl FnOnce(&Path)) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        write_tree(&self.tree, &data);
        change(&data.join(&self.file));
        let process = Process::start(folder.path(), &[]);
        for token in &self.before {
            assert!(process.app().get(token).await.is_some());
        }
        let last = process.app().get(&self.last).await.is_some();
        let new = process.app().create("new").await;
        process.kill();
        let process = Process::start(folder.path(), &[]);
        for token in self.before.iter().chain([&new]) {
            assert!(process.app().get(token).await.is_some());
        }
        assert_eq!(process.app().get(&self.last).await.is_some(), last);
        last
    }
}

fn cut(path: &Path, length: usize) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.set_len(length as u64).expect("a shorter file");
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).expect("a file");
    file.write_all(bytes).expect("a longer file");
}

#[tokio::test]
async fn a_torn_last_batch_loses_no_other_batch() {
    let journal = journal().await;
    let batch = journal.end - journal.start;
    assert!(batch > 300, "the journal did not grow by the last batch: {batch}");
    assert!(journal.start(|_| ()).await, "untouched");
    for torn in [1, 10, batch / 2, batch - 1] {
        assert!(
            !journal.start(|path| cut(path, journal.end - torn)).await,
            "{torn} bytes torn off"
        );
    }
    // The same with preallocated space after the torn batch.
    for torn in [10, batch / 2] {
        let lost = journal.start(|path| {
            cut(path, journal.end - torn);
            append(path, &vec![0; 100_000]);
        });
        assert!(!lost.await, "{torn} bytes still zero");
    }
}

#[tokio::test]
async fn the_beginning_of_another_batch_loses_nothing() {
    let journal = journal().await;
    let bytes = journal.tree[&journal.file].1.clone().expect("a file");
    let batch = &bytes[journal.start..];
    for begun in [1, 13, 60, batch.len() - 13, batch.len() - 1] {
        assert!(
            journal.start(|path| append(path, &batch[..begun])).await,
            "{begun} bytes begun"
        );
    }
    assert!(
        journal.start(|path| append(path, &vec![0; 100_000])).await,
        "preallocated space"
    );
}
