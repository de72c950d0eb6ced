//! Pastes the commands of a document into a real shell and compares the output.

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::document::ADDRESS;

/// Seconds after which a program counts as stuck. One of them is a compiler, and the machine may be busy.
pub(super) const PATIENCE: &str = "300";

/// Commands, and their expected output.
#[derive(Default)]
struct Step {
    commands: String,
    printed: String,
}

/// Splits shell text into steps: lines of commands, then the comments directly below them. Other comments are prose.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut after_command = false;
    for line in text.lines() {
        let comment = line.strip_prefix("# ").or_else(|| (line == "#").then_some(""));
        if let Some(printed) = comment {
            if let Some(step) = steps.last_mut().filter(|_| after_command) {
                step.printed += printed;
                step.printed.push('\n');
            }
            continue;
        }
        after_command = !line.is_empty();
        if line.is_empty() {
            continue;
        }
        if steps.last().is_none_or(|step| !step.printed.is_empty()) {
            steps.push(Step::default());
        }
        let step = steps.last_mut().expect("a step was added");
        step.commands += line;
        step.commands.push('\n');
    }
    steps
}

/// A command without the environment variables that configure proxies or add output.
pub(super) fn clean_command(program: &str) -> Command {
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

/// Fails if one of these programs is not installed.
#[track_caller]
pub(super) fn require_programs(programs: &[&str]) {
    for program in programs {
        let found = clean_command("sh").args(["-c", "command -v \"$0\"", program]).output();
        assert!(
            found.is_ok_and(|found| found.status.success()),
            "{program} is not in the PATH: install it to run this test"
        );
    }
}

/// Runs commands in `folder`, in one shell, against the service at `address`. Each must print the output in the comments
/// directly below it, or nothing; only tokens and times may differ. `rest-sessions` is this build, and its port is that
/// of the service.
pub(super) fn paste(text: &str, folder: &Path, address: &str) {
    let steps = steps(text);
    let results = tempfile::tempdir().expect("a temporary folder");
    let result = |place: usize| results.path().join(place.to_string());
    let mut script = String::new();
    for (place, step) in steps.iter().enumerate() {
        // Braces, not parentheses: later commands need the variables that are set here.
        let commands = step.commands.replace(ADDRESS, address);
        writeln!(script, "{{ {commands}}} >'{}' 2>&1", result(place).display()).expect("writing to a String");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_rest-sessions"));
    let programs = program.parent().expect("the program is in a folder").display();
    let path = std::env::var("PATH").expect("PATH is set");
    let shell = clean_command("timeout")
        .args([PATIENCE, "sh", "-c", &script])
        .env("PATH", format!("{programs}:{path}"))
        .env("RS_PORT", address.rsplit(':').next().unwrap_or_default())
        .current_dir(folder)
        .output();
    let shell = shell.expect("timeout and sh are installed");
    for (place, step) in steps.iter().enumerate() {
        let printed = fs::read_to_string(result(place))
            .unwrap_or_else(|cause| panic!("{} was not run: {cause}, {shell:?}", step.commands));
        assert_eq!(
            masked(&with_final_newline(printed)),
            masked(&step.printed),
            "{}",
            step.commands
        );
    }
}

/// Adds a final line feed: answers lack one, but documents show each on a line of its own.
fn with_final_newline(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Replaces each token by TOKEN, and each idle time or remaining time by SECONDS.
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
