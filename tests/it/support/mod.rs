//! What the tests stand on: a server on a free port, a client that speaks of sessions, a Redis of their own.

pub(crate) mod answer;
pub(crate) mod app;
mod eventually;
pub(crate) mod line;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod redis_cluster;
pub(crate) mod redis_server;
pub(crate) mod server;
mod side_by_side;

pub(crate) use self::{
    answer::{Answer, NO_TOKEN, Session, json},
    app::App,
    eventually::eventually,
    server::{START, Server, Store},
    side_by_side::side_by_side,
};

/// Stamps each named function, an `async fn(Store)`, as a test of every store. One that is not named is dead code, which
/// the compiler tells.
macro_rules! for_every_store {
    ($($test:ident),+ $(,)?) => {
        $crate::support::for_one_store!(embedded, Embedded, $($test),+);
        $crate::support::for_one_store!(redis, Redis, $($test),+);
        $crate::support::for_one_store!(cluster, Cluster, $($test),+);
    };
}

/// Half of [`for_every_store`].
macro_rules! for_one_store {
    ($store:ident, $variant:ident, $($test:ident),+) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::support::Store::$variant).await;
                }
            )+
        }
    };
}

pub(crate) use {for_every_store, for_one_store};
