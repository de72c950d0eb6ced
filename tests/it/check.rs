//! `rest-sessions check`: what it finds, what it mends, and that it finds nothing afterwards.

mod embedded;
