//! A line to a server that can go wrong: what is asked arrives, the replies do not, and then it is cut.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch::{self, Receiver, Sender},
};

/// Listens until the test ends.
pub(crate) struct Line {
    address: SocketAddr,
    /// Whether replies are lost. Connections that have lost one are cut when this ends.
    deaf: Sender<bool>,
}

impl Line {
    /// A line to a port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (deaf, state) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let state = state.clone();
                // A connection that ends with an error has ended.
                tokio::spawn(async move { connection(near, port, state).await });
            }
        });
        Self { address, deaf }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on replies are lost.
    pub(crate) fn deafen(&self) {
        self.deaf.send_replace(true);
    }

    /// Cuts every connection. New ones are well.
    pub(crate) fn cut(&self) {
        self.deaf.send_replace(false);
    }
}

async fn connection(near: TcpStream, port: u16, mut state: Receiver<bool>) -> std::io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let replies = async {
        let mut deaf = *state.borrow_and_update();
        let mut buffer = vec![0; 16384];
        loop {
            tokio::select! {
                read = from_far.read(&mut buffer) => match read? {
                    0 => return Ok(()),
                    _ if deaf => {}
                    length => to_near.write_all(&buffer[..length]).await?,
                },
                changed = state.changed() => {
                    deaf = *state.borrow_and_update();
                    if changed.is_err() || !deaf {
                        return Ok(());
                    }
                }
            }
        }
    };
    tokio::select! {
        ended = replies => ended,
        ended = copy(&mut from_near, &mut to_far) => ended.map(drop),
    }
}
