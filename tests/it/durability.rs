//! Tests of the durability of the embedded store: answered changes survive the end of the process, a folder with other
//! data is left alone, and damage is reported, never hidden by forgetting data.

mod buffered_reads;
mod clock_jumps;
mod crash;
mod damage;
mod fifty_crashes;
mod file_size_limit;
mod formats;
mod frozen_disk;
mod full_disk;
mod journal;
mod lost_folder;
mod ownership;
mod slow_readers;
mod small_disk;
mod used_folder;
