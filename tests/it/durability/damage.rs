//! Tests of damage to each kind of file in a used data folder. Either the start is refused with one line and changes
//! nothing, or all data is there. Damage that the start cannot see causes a 503 when it is read, never `{}` and never
//! another session's data.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::used_folder::{Contents, Found, Tree, tree, used_folder, write_tree};
use crate::process::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Removed,
    Emptied,
    /// Truncated to half its length.
    Halved,
    /// Overwritten with random bytes.
    Garbage,
    /// 64 bytes changed in the middle.
    Middle,
    /// One bit flipped, this many eighths into the file.
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

/// The kinds of file in a data folder. There are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Marker,
    /// Lock files are empty.
    Lock,
    EngineLock,
    EngineVersion,
    Journal,
    /// Names the current version of a keyspace.
    Current,
    /// Lists the tables of a keyspace.
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

    /// Whether the start must find this damage. Other damage must be found when it is read, or have no effect: a
    /// flipped bit may be in bytes that are never read.
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

fn damage_file(path: &Path, damage: Damage) {
    let mut bytes = fs::read(path).expect("a file");
    let half = bytes.len() / 2;
    match damage {
        Removed => return fs::remove_file(path).expect("a file"),
        Emptied => bytes.clear(),
        Halved => bytes.truncate(half),
        Garbage => {
            getrandom::fill(&mut bytes).expect("the system has randomness");
            // The file must not begin like a valid one by chance.
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

/// The result of a start in a damaged folder.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Served(Found),
}

/// The files and folders that differ.
fn changed(before: &Tree, after: &Tree) -> Vec<PathBuf> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect()
}

/// Starts the program in a copy of `used` that `harm` has damaged. An error describes a wrong answer, or a refusal that
/// is unclear or changed files.
async fn start(used: &Tree, contents: &Contents, harm: impl FnOnce(&Path)) -> Result<Outcome, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    write_tree(used, &data);
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

/// Whether the damage makes the file invalid at all. A truncated journal is a valid one whose last write was torn: see
/// [`super::journal`].
fn possible(kind: Kind, size: usize, damage: Damage) -> bool {
    (size > 0 || damage == Removed) && !(kind == Kind::Journal && damage == Halved)
}

/// Damages one file and starts. Returns a complaint if the outcome is wrong, and whether only reading found the damage.
async fn complaint(used: &Tree, contents: &Contents, name: &Path, damage: Damage) -> (Option<String>, bool) {
    let kind = Kind::of(name);
    let outcome = start(used, contents, |data| damage_file(&data.join(name), damage)).await;
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
async fn damage_is_reported_at_the_start_or_when_it_is_read() {
    let (used, contents) = used_folder().await;
    assert_eq!(start(used, contents, |_| ()).await, Ok(Outcome::Served(Found::All)));

    let files: Vec<PathBuf> = used
        .iter()
        .filter(|(_, (_, content))| content.is_some())
        .map(|(name, _)| name.clone())
        .collect();
    let kinds: BTreeSet<Kind> = files.iter().map(|name| Kind::of(name)).collect();
    assert_eq!(kinds.len(), 8, "a kind of file is missing: {kinds:?}");

    let mut complaints = Vec::new();
    let mut unavailable = 0;
    for name in files {
        let size = used[&name].1.as_ref().map_or(0, Vec::len);
        // Concurrently, since a start mostly waits.
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
    assert!(
        unavailable > 3,
        "only reading finds too few of the flipped bits: {unavailable}"
    );
}

#[tokio::test]
async fn the_start_is_refused_if_a_keyspace_is_missing() {
    let (used, contents) = used_folder().await;
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

/// Right after the engine has begun a new journal, the previous one still holds changes that are in no table.
#[tokio::test]
async fn the_start_is_refused_if_a_full_journal_is_damaged() {
    let (used, contents) = used_folder().await;
    let journals: Vec<_> = used
        .keys()
        .filter(|name| name.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    let [full] = journals.as_slice() else {
        panic!("expected one journal after a clean shutdown, not {journals:?}");
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
            damage_file(&data.join(full), damage);
        });
        assert_eq!(outcome.await, Ok(Outcome::Refused), "{damage:?}");
    }
}

/// A crash during a compaction leaves files that nothing refers to. The next start removes them, unless it is refused.
#[tokio::test]
async fn a_refused_start_removes_no_leftover_files() {
    let (used, contents) = used_folder().await;
    let tables = Path::new("fjall/keyspaces/1/tables");
    let table = used.keys().find(|name| name.parent() == Some(tables)).expect("a table");
    let left_over = |data: &Path| {
        fs::copy(data.join(table), data.join(tables).join("1000")).expect("a copy");
    };
    assert_eq!(start(used, contents, left_over).await, Ok(Outcome::Served(Found::All)));
    let journal = journals(used).next().expect("a journal");
    let outcome = start(used, contents, |data| {
        left_over(data);
        damage_file(&data.join(journal), Middle);
    });
    assert_eq!(outcome.await, Ok(Outcome::Refused));
}
