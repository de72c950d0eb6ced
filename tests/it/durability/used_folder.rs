//! A used data folder, with tables in every keyspace and changes that are in the journal only.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::OnceCell;

use crate::{
    process::Process,
    support::{Answer, json},
};

/// Files and folders by their path below a folder: the mode, and the content of a file or a link.
pub(super) type Tree = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

/// Reads everything below `folder`.
pub(super) fn tree(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = path.symlink_metadata().expect("metadata");
            let content = if metadata.is_dir() {
                folders.push(path.clone());
                None
            } else if metadata.is_symlink() {
                Some(
                    fs::read_link(&path)
                        .expect("a link")
                        .into_os_string()
                        .into_encoded_bytes(),
                )
            } else {
                Some(fs::read(&path).expect("a file"))
            };
            let name = path.strip_prefix(folder).expect("it is below").to_owned();
            tree.insert(name, (metadata.permissions().mode(), content));
        }
    }
    tree
}

/// Creates `folder` with the content that [`tree`] read from another folder.
pub(super) fn write_tree(tree: &Tree, folder: &Path) {
    fs::create_dir(folder).expect("a new folder");
    // The paths are sorted, so each folder comes before its content.
    for (name, (mode, content)) in tree {
        let path = folder.join(name);
        match content {
            Some(content) => fs::write(&path, content).expect("a file"),
            None => fs::create_dir(&path).expect("a folder"),
        }
        fs::set_permissions(&path, Permissions::from_mode(*mode)).expect("a mode");
    }
}

/// The sessions of a store, as a client knows them.
pub(super) struct Contents {
    /// Token, id and data of each session.
    sessions: Vec<(String, String, String)>,
    killed: Vec<String>,
}

/// The used data folder and its contents, created once in this process.
pub(super) async fn used_folder() -> &'static (Tree, Contents) {
    static USED: OnceCell<(Tree, Contents)> = OnceCell::const_new();
    USED.get_or_init(create).await
}

/// Sends no gets: their flush would write the records to the journal again, so that they would be in both places.
async fn create() -> (Tree, Contents) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let process = Process::start(folder.path(), &[]);
    let contents = Contents::fill(&process, &data).await;
    process.stop();
    // A start truncates the 64 MB of preallocated zeros of the journal, may begin a compaction, and removes what the
    // compaction of the last run has left. Restart until nothing changes any more.
    let keyspaces = data.join("fjall/keyspaces");
    let mut before = Tree::new();
    while tree(&keyspaces) != before {
        before = tree(&keyspaces);
        let process = Process::start(folder.path(), &[]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        process.stop();
    }
    (tree(&data), contents)
}

/// How much of [`Contents`] the server still answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of it.
    All,
    /// At least one request got a 503; every other answer was right.
    Unavailable,
}

impl Contents {
    /// Fills the store of `process` until the engine has written tables of all keyspaces.
    async fn fill(process: &Process, data: &Path) -> Self {
        let mut contents = Self {
            sessions: Vec::new(),
            killed: Vec::new(),
        };
        contents.add(process, 20).await;
        // Large sets of one session write much and leave little. Beyond 64 MB the engine begins a second journal, and
        // writes tables of all keyspaces so that it can remove the first.
        let app = process.app();
        let token = &app.create("large").await;
        let mut rounds = 0;
        while !(1..=3).all(|keyspace| has_table(data, keyspace)) {
            rounds += 1;
            assert!(rounds < 300, "the engine wrote no tables: did its layout change?");
            let large = &format!(r#"{{"large":"{}"}}"#, noise(55_000));
            let sets = (0..8).map(|_| {
                let app = app.clone();
                let (token, large) = (token.clone(), large.clone());
                tokio::spawn(async move { app.set(&token, large).await.expect("alive").w })
            });
            for set in sets.collect::<Vec<_>>() {
                set.await.expect("no panic");
            }
        }
        app.kill(token).await;
        contents.killed.push(token.clone());
        contents.add(process, 20).await;
        contents
    }

    /// Adds live sessions, one of them changed by a set, and one killed session.
    async fn add(&mut self, process: &Process, sessions: usize) {
        let app = process.app();
        for n in 0..sessions {
            let id = format!("user-{}", n % 7);
            let data = format!(r#"{{"n":{n},"noise":"{}"}}"#, noise(200));
            let token = app.create_with(&id, "", &data).await;
            self.sessions.push((token, id, data));
        }
        let (token, _, data) = self.sessions.last_mut().expect("one at least");
        *data = format!(r#"{{"n":-1,"noise":"{}"}}"#, noise(200));
        app.set(token, data.clone()).await.expect("alive");
        let token = app.create("killed").await;
        assert_eq!(app.kill(&token).await, 1);
        self.killed.push(token);
    }

    /// Requests everything. Each answer must be right or a 503.
    pub(super) async fn find(&self, process: &Process) -> Result<Found, String> {
        let mut found = Found::All;
        for (token, id, data) in &self.sessions {
            let right = |answer: &Answer| {
                let session = json(&answer.body);
                session["id"] == **id && session["d"] == json(data)
            };
            ask(process, &format!("get/{token}"), right, &mut found).await?;
        }
        for token in &self.killed {
            ask(
                process,
                &format!("get/{token}"),
                |answer| answer.body == "{}",
                &mut found,
            )
            .await?;
        }
        let listed = |answer: &Answer| {
            let list = json(&answer.body);
            let mut listed: Vec<_> = list["sessions"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| one["d"].to_string())
                .collect();
            listed.sort_unstable();
            listed
        };
        let expected = |of: &dyn Fn(&str) -> bool| {
            let sessions = self.sessions.iter().filter(|(_, id, _)| of(id));
            let mut expected: Vec<_> = sessions.map(|(_, _, data)| json(data).to_string()).collect();
            expected.sort_unstable();
            expected
        };
        for user in 0..7 {
            let user = format!("user-{user}");
            let right = |answer: &Answer| listed(answer) == expected(&|id| *id == user);
            ask(process, &format!("soid/{user}"), right, &mut found).await?;
        }
        let right = |answer: &Answer| listed(answer) == expected(&|_| true);
        ask(process, "soapp?dt=7200", right, &mut found).await?;
        let right = |answer: &Answer| answer.body == r#"{"activity":7}"#;
        ask(process, "activity?dt=7200", right, &mut found).await?;
        Ok(found)
    }
}

async fn ask(process: &Process, path: &str, right: impl Fn(&Answer) -> bool, found: &mut Found) -> Result<(), String> {
    let answer = process.ask("GET", &format!("/test-app/{path}"), "").await;
    match answer.status {
        200 if right(&answer) => Ok(()),
        503 => {
            answer.refused(503, "storeUnavailable", "The session store is not available");
            *found = Found::Unavailable;
            Ok(())
        }
        status => {
            let mut body = answer.body;
            body.truncate(120);
            Err(format!("{path} answers {status}: {body}"))
        }
    }
}

fn has_table(data: &Path, keyspace: u8) -> bool {
    let tables = fs::read_dir(data.join(format!("fjall/keyspaces/{keyspace}/tables")));
    tables.is_ok_and(|mut tables| tables.next().is_some())
}

/// Random text, so that the engine cannot compress it away.
pub(super) fn noise(length: usize) -> String {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
        .iter()
        .map(|byte| char::from(b'0' + byte % 64))
        .map(|c| if c == '\\' { 'z' } else { c })
        .collect()
}
