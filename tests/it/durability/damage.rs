//! Damage to each kind of file in a used folder. The start ends with one line and leaves everything as it was, or everything
//! is there. What cannot be known at the start is an error when it is read, never `{}` and never another session's data.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::used::{Contents, Found, Tree, folder, plant, tree};
use crate::process::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Removed,
    Emptied,
    /// Cut in half.
    Halved,
    /// Random bytes from the first to the last.
    Garbage,
    /// 64 bytes in the middle.
    Middle,
    /// One bit, this many eighths into the file.
    Bit(usize),
}

use Damage::{Bit, Emptied, Garbage, Halved, Middle, Removed};

const DAMAGES: [Damage; 13] = [
    Removed,
    Emptied,
    Halved,
    Garbage,
    Middle,
    Bit(0),
    Bit(1),
    Bit(2),
    Bit(3),
    Bit(4),
    Bit(5),
    Bit(6),
    Bit(7),
];

/// The kinds of file: every file of a data folder is of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Marker,
    /// Locks are empty; what matters is that they are there.
    Lock,
    EngineLock,
    EngineVersion,
    Journal,
    /// Says which version of a keyspace counts.
    Current,
    /// The list of a keyspace's tables.
    Version,
    Table,
}

impl Kind {
    /// The kind of a file.
    fn of(name: &Path) -> Self {
        let parts: Vec<_> = name.iter().filter_map(|part| part.to_str()).collect();
        match parts.as_slice() {
            ["rest-sessions"] => Self::Marker,
            ["lock"] => Self::Lock,
            ["fjall", "lock"] => Self::EngineLock,
            ["fjall", "version"] => Self::EngineVersion,
            ["fjall", _] if is_journal(name) => Self::Journal,
            ["fjall", "keyspaces", _, "current"] => Self::Current,
            ["fjall", "keyspaces", _, "tables", _] => Self::Table,
            ["fjall", "keyspaces", _, file] if file.starts_with('v') => Self::Version,
            other => panic!("a file of an unknown kind: {other:?}"),
        }
    }

    /// Whether such damage has to be found at the start. The rest has to be found, or to do no harm: a bit may be one
    /// that nobody reads.
    fn shows_at_start(self, damage: Damage) -> bool {
        match self {
            Self::Marker | Self::EngineVersion | Self::Journal => true,
            Self::Lock => false,
            Self::EngineLock => damage == Removed,
            Self::Current => matches!(damage, Removed | Emptied | Garbage),
            Self::Version | Self::Table => matches!(damage, Removed | Emptied | Halved | Garbage),
        }
    }
}

fn is_journal(name: &Path) -> bool {
    name.extension().is_some_and(|extension| extension == "jnl")
}

fn journals(tree: &Tree) -> impl Iterator<Item = &PathBuf> {
    tree.keys().filter(|name| is_journal(name))
}

fn hurt(path: &Path, damage: Damage) {
    let mut bytes = fs::read(path).expect("a file");
    let half = bytes.len() / 2;
    match damage {
        Removed => return fs::remove_file(path).expect("a file"),
        Emptied => bytes.clear(),
        Halved => bytes.truncate(half),
        Garbage => {
            getrandom::fill(&mut bytes).expect("the system has randomness");
            // Not by chance the beginning of what might have been.
            bytes[0] = 0xee;
        }
        Middle => bytes[half..].iter_mut().take(64).for_each(|byte| *byte ^= 0x55),
        Bit(eighths) => {
            let place = bytes.len() * eighths / 8;
            bytes[place] ^= 0x01;
        }
    }
    fs::write(path, bytes).expect("a file");
}

/// What came of a start in a damaged folder.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Served(Found),
}

/// Files and folders that differ.
fn changed(before: &Tree, after: &Tree) -> Vec<PathBuf> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect()
}

/// Starts in a copy of `used` that `harm` has been done to. The error says what a client or an operator would complain of.
async fn start(used: &Tree, contents: &Contents, harm: impl FnOnce(&Path)) -> Result<Outcome, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    plant(used, &data);
    harm(&data);
    let before = tree(&data);
    match Process::try_spawn(Process::command(folder.path(), &[])) {
        Ok(process) => Ok(Outcome::Served(contents.find(&process).await?)),
        Err(refused) if tree(&data) != before => Err(format!(
            "refused, but {:?} changed: {refused:?}",
            changed(&before, &tree(&data))
        )),
        Err(refused) if refused.code != Some(1) || !refused.one_line() => Err(format!("no clear refusal: {refused:?}")),
        Err(_) => Ok(Outcome::Refused),
    }
}

/// Whether there is such a case at all. A journal that was cut is one whose last write was cut short: see [`super::journal`].
fn possible(kind: Kind, size: usize, damage: Damage) -> bool {
    (size > 0 || damage == Removed) && !(kind == Kind::Journal && damage == Halved)
}

/// `None` if all is well.
async fn complaint(used: &Tree, contents: &Contents, name: &Path, damage: Damage) -> (Option<String>, bool) {
    let kind = Kind::of(name);
    let outcome = start(used, contents, |data| hurt(&data.join(name), damage)).await;
    let complaint = match &outcome {
        Err(complaint) => Some(complaint.clone()),
        Ok(Outcome::Served(found)) if kind.shows_at_start(damage) => Some(format!("started; found: {found:?}")),
        Ok(Outcome::Served(Found::Unavailable)) if kind != Kind::Table => Some("started; 503".into()),
        Ok(_) => None,
    };
    let complaint = complaint.map(|complaint| format!("{} {damage:?}: {complaint}", name.display()));
    (complaint, outcome == Ok(Outcome::Served(Found::Unavailable)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_at_the_start_or_when_it_is_read() {
    let (used, contents) = folder().await;
    assert_eq!(start(used, contents, |_| ()).await, Ok(Outcome::Served(Found::All)));

    let files: Vec<PathBuf> = used
        .iter()
        .filter(|(_, (_, content))| content.is_some())
        .map(|(name, _)| name.clone())
        .collect();
    let kinds: BTreeSet<Kind> = files.iter().map(|name| Kind::of(name)).collect();
    assert_eq!(kinds.len(), 8, "not every kind of file is there: {kinds:?}");

    let mut complaints = Vec::new();
    let mut unavailable = 0;
    for name in files {
        let size = used[&name].1.as_ref().map_or(0, Vec::len);
        // Side by side: much of a start is waiting.
        let cases = DAMAGES
            .into_iter()
            .filter(|damage| possible(Kind::of(&name), size, *damage))
            .map(|damage| {
                let name = name.clone();
                tokio::spawn(async move { complaint(used, contents, &name, damage).await })
            });
        for case in cases.collect::<Vec<_>>() {
            let (complaint, found_when_read) = case.await.expect("no panic");
            complaints.extend(complaint);
            unavailable += usize::from(found_when_read);
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(unavailable > 3, "no bit was one that only reading finds: {unavailable}");
}

#[tokio::test]
async fn a_missing_keyspace_is_missed() {
    let (used, contents) = folder().await;
    for keyspace in 0..=3 {
        let outcome = start(used, contents, |data| {
            fs::remove_dir_all(data.join(format!("fjall/keyspaces/{keyspace}"))).expect("a keyspace");
        });
        assert_eq!(outcome.await, Ok(Outcome::Refused), "{keyspace}");
        let outcome = start(used, contents, |data| {
            fs::remove_dir_all(data.join(format!("fjall/keyspaces/{keyspace}/tables"))).expect("tables");
        });
        assert_eq!(outcome.await, Ok(Outcome::Refused), "tables of {keyspace}");
    }
    let outcome = start(used, contents, |data| {
        fs::remove_dir_all(data.join("fjall")).expect("the engine");
    });
    assert_eq!(outcome.await, Ok(Outcome::Refused));
}

/// Right after the engine has begun a new journal, the one before still holds what the tables lack.
#[tokio::test]
async fn damage_to_a_full_journal_is_told() {
    let (used, contents) = folder().await;
    let journals: Vec<_> = used
        .keys()
        .filter(|name| name.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    let [full] = journals.as_slice() else {
        panic!("one journal after a good end, not {journals:?}");
    };
    let number: u32 = full
        .file_stem()
        .and_then(|stem| stem.to_str()?.parse().ok())
        .expect("a number");
    let next = format!("fjall/{}.jnl", number + 1);
    let begin_next = |data: &Path| fs::write(data.join(&next), [0; 4096]).expect("a file");
    assert_eq!(start(used, contents, begin_next).await, Ok(Outcome::Served(Found::All)));
    for damage in [Emptied, Garbage, Middle, Bit(0), Bit(3), Bit(6)] {
        let outcome = start(used, contents, |data| {
            begin_next(data);
            hurt(&data.join(full), damage);
        });
        assert_eq!(outcome.await, Ok(Outcome::Refused), "{damage:?}");
    }
}

/// A crash amid the engine's own work leaves files that nothing refers to. They go at the next start, not before.
#[tokio::test]
async fn a_refusal_does_not_even_tidy_up() {
    let (used, contents) = folder().await;
    let tables = Path::new("fjall/keyspaces/1/tables");
    let table = used.keys().find(|name| name.parent() == Some(tables)).expect("a table");
    let left_over = |data: &Path| {
        fs::copy(data.join(table), data.join(tables).join("1000")).expect("a copy");
    };
    assert_eq!(start(used, contents, left_over).await, Ok(Outcome::Served(Found::All)));
    let journal = journals(used).next().expect("a journal");
    let outcome = start(used, contents, |data| {
        left_over(data);
        hurt(&data.join(journal), Middle);
    });
    assert_eq!(outcome.await, Ok(Outcome::Refused));
}
