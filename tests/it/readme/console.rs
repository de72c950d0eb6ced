//! A block of commands and what they print, run by a real shell.

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::document::ADDRESS;

/// Seconds after which a program counts as stuck; a compiler may be among them, on a busy machine.
pub(super) const PATIENCE: &str = "300";

/// A command after `$ `, and the lines up to the next one.
struct Step {
    command: String,
    printed: String,
}

fn steps(console: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in console.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                printed: String::new(),
            });
        } else {
            let step = steps.last_mut().expect("a command comes first");
            step.printed += line;
            step.printed.push('\n');
        }
    }
    steps
}

/// The commands of a block.
pub(super) fn commands(console: &str) -> Vec<String> {
    steps(console).into_iter().map(|step| step.command).collect()
}

/// A program whose environment neither sends it through a proxy nor makes it say more than usual.
pub(super) fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("no_proxy", "*").stdin(Stdio::null());
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "JAVA_TOOL_OPTIONS",
    ] {
        command.env_remove(name);
    }
    command
}

/// Fails if one of these programs is not there.
#[track_caller]
pub(super) fn need(programs: &[&str]) {
    for program in programs {
        let found = quiet("sh").args(["-c", "command -v \"$0\"", program]).output();
        assert!(
            found.is_ok_and(|found| found.status.success()),
            "this test needs {program} in the PATH: please install it"
        );
    }
}

/// Runs the commands of a block in `folder`, in one shell, against the service at `address`. Each has to print what the
/// block says; only tokens and times that go by may differ.
pub(super) fn replay(console: &str, folder: &Path, address: &str) {
    let steps = steps(console);
    let results = tempfile::tempdir().expect("a folder");
    let result = |place: usize| results.path().join(place.to_string());
    let mut script = String::new();
    for (place, step) in steps.iter().enumerate() {
        // Braces and not parentheses: a variable that is set here is for the next commands too.
        let command = step.command.replace(ADDRESS, address);
        writeln!(script, "{{ {command}\n}} >'{}' 2>&1", result(place).display()).expect("memory takes every write");
    }
    let shell = quiet("timeout")
        .args([PATIENCE, "sh", "-c", &script])
        .current_dir(folder)
        .output();
    let shell = shell.expect("timeout and sh are there");
    for (place, step) in steps.iter().enumerate() {
        let printed = fs::read_to_string(result(place))
            .unwrap_or_else(|cause| panic!("{} was not run: {cause}, {shell:?}", step.command));
        assert_eq!(masked(&ended(printed)), masked(&step.printed), "$ {}", step.command);
    }
}

/// Answers end without a line feed, and the README shows each on a line of its own.
fn ended(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The text with each token, each idle time and each time that is left in the place of which one stands.
fn masked(text: &str) -> String {
    const TIMES: [&str; 2] = ["\"idle\":", "x-session-ttl: "];
    let mut rest = text;
    let mut masked = String::new();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let is_a_time = TIMES.iter().any(|name| masked.ends_with(name));
        let (taken, shown) = match word {
            64 => (64, "TOKEN"),
            0 => (first.len_utf8(), &rest[..first.len_utf8()]),
            _ if is_a_time => (word, "SECONDS"),
            _ => (word, &rest[..word]),
        };
        masked += shown;
        rest = &rest[taken..];
    }
    masked
}
