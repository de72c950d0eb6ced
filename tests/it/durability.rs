//! What the embedded store promises of its folder: answers outlive the process, nobody else's folder is touched, and damage
//! is told, never mended by forgetting.

mod clock;
mod crash;
mod damage;
mod folder;
mod formats;
mod frozen;
mod full;
mod journal;
mod kills;
mod lag;
mod place;
mod room;
mod slow_readers;
mod used;
