//! Tests of the configuration: flags, environment and file, which share one definition of each option.

mod file;
mod kubernetes_links;
mod output;
mod precedence;
mod redis;
mod refusal;
mod windows;
