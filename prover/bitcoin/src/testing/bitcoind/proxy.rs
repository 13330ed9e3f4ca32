//! A TCP proxy before a node: what a slow, silent or broken connection does to whoever calls.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What the proxy does with connections and with what the node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFault {
    /// Everything passes.
    None,
    /// Each piece of an answer waits so long.
    Delay(Duration),
    /// New connections are closed at once.
    Refuse,
    /// Calls reach the node; its answers reach nobody, and the connection stays open.
    Silence,
    /// Calls reach the node; the connection ends after so many bytes of the answers.
    Cut(usize),
    /// Calls reach the node; this comes in place of its answers.
    Answer(&'static str),
}

/// A proxy that serves until the process ends.
pub struct Proxy {
    port: u16,
    fault: Arc<Mutex<ConnectionFault>>,
}

impl Proxy {
    /// Starts a proxy before a port of this machine.
    pub fn start(target_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let fault = Arc::new(Mutex::new(ConnectionFault::None));
        let shared = fault.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let fault = shared.clone();
                thread::spawn(move || serve(client, target_port, &fault));
            }
        });
        Self { port, fault }
    }

    /// The address to call instead of the node's.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Changes what happens from now on, on open connections too.
    pub fn set(&self, fault: ConnectionFault) {
        *self.fault.lock().expect("no holder panics") = fault;
    }
}

/// Copies both ways until either side ends; the sockets of a connection that ends are the only sign of it.
fn serve(client: TcpStream, target_port: u16, fault: &Arc<Mutex<ConnectionFault>>) {
    if *fault.lock().expect("no holder panics") == ConnectionFault::Refuse {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target_port)) else { return };
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { return };
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let _ = answer(server, &client, fault);
    let _ = client.shutdown(Shutdown::Both);
}

fn answer(mut server: TcpStream, mut client: &TcpStream, fault: &Mutex<ConnectionFault>) -> io::Result<()> {
    let mut piece = [0; 4_096];
    let mut passed = 0;
    loop {
        let read = server.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        let fault = *fault.lock().expect("no holder panics");
        match fault {
            ConnectionFault::Silence => continue,
            ConnectionFault::Delay(delay) => thread::sleep(delay),
            ConnectionFault::Answer(text) => return client.write_all(text.as_bytes()),
            ConnectionFault::Cut(bytes) if passed + read > bytes => {
                client.write_all(&piece[..bytes.saturating_sub(passed).min(read)])?;
                return Ok(());
            }
            ConnectionFault::None | ConnectionFault::Refuse | ConnectionFault::Cut(_) => (),
        }
        client.write_all(&piece[..read])?;
        passed += read;
    }
}
