//! Configuration in the documents: the real programs accept it, and every variable that a document names exists.

use std::{collections::BTreeSet, fs};

use clap::CommandFactory;
use rest_sessions::config::Cli;
use serde::Deserialize;

use super::{
    document::{Document, blocks},
    paste::{clean_command, require_programs},
};
use crate::process::{finish, program};

#[test]
fn nginx_accepts_every_block_of_its_configuration() {
    require_programs(&["nginx"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().display();
    let mut checked = 0;
    for document in Document::all() {
        for block in document.blocks().iter().filter(|block| block.language == "nginx") {
            let upstreams: Vec<_> = ["sessions", "backend"]
                .into_iter()
                .filter(|name| !block.content.contains(&format!("upstream {name} ")))
                .map(|name| format!("upstream {name} {{ server 127.0.0.1:1; }}\n"))
                .collect();
            let named: Vec<_> = ["login", "later"]
                .into_iter()
                .filter(|name| !block.content.contains(&format!("location @{name} ")))
                .map(|name| format!("location @{name} {{ return 503; }}\n"))
                .collect();
            let (upstreams, named) = (upstreams.concat(), named.concat());
            let (outside, inside) = match block.content.split_once("# in server {}\n") {
                Some(parts) => parts,
                None => ("", block.content.as_str()),
            };
            let configuration = format!(
                "pid {path}/pid; error_log {path}/log; events {{}} http {{ access_log off; client_body_temp_path {path};
                proxy_temp_path {path}; fastcgi_temp_path {path}; uwsgi_temp_path {path}; scgi_temp_path {path};
                {upstreams}\n{outside}\nserver {{ listen unix:{path}/socket; {named}\n{inside}\n}} }}"
            );
            let file = folder.path().join("nginx.conf");
            fs::write(&file, configuration).expect("a writable folder");
            let output = clean_command("nginx").args(["-t", "-q", "-c"]).arg(&file).output();
            let output = output.expect("nginx is installed");
            assert!(
                output.status.success(),
                "{}: {}: {}",
                document.path,
                String::from_utf8_lossy(&output.stderr),
                block.content
            );
            checked += 1;
        }
    }
    assert!(checked >= 2, "only {checked} blocks");
}

#[test]
fn every_yaml_block_parses() {
    for document in Document::all() {
        for block in document.blocks().iter().filter(|block| block.language == "yaml") {
            for part in serde_yaml_ng::Deserializer::from_str(&block.content) {
                let parsed = serde_yaml_ng::Value::deserialize(part);
                parsed.unwrap_or_else(|cause| panic!("{}: {cause}: {}", document.path, block.content));
            }
        }
    }
}

#[test]
fn the_service_accepts_every_toml_block() {
    for document in Document::in_docs() {
        for block in blocks(&document.text).iter().filter(|block| block.language == "toml") {
            let folder = tempfile::tempdir().expect("a temporary folder");
            fs::write(folder.path().join("file.toml"), &block.content).expect("a writable folder");
            let run = finish(program(
                folder.path(),
                &["--config", "file.toml", "completions", "bash"],
            ));
            assert_eq!(run.code, Some(0), "{}: {run:?}", document.path);
        }
    }
}

#[test]
fn every_variable_that_a_document_names_exists() {
    let command = Cli::command();
    let known: BTreeSet<_> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str())
        .collect();
    for document in Document::all() {
        let words = document.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("RS_") && word.len() > 3) {
            assert!(known.contains(word), "{} names {word}", document.path);
        }
    }
}
