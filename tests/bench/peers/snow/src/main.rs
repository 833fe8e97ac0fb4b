//! Responders of snow, driven over stdin and stdout; each request is a line, and each is answered by a line `ok`.
//!
//!     prepare NAME COUNT   begin COUNT handshakes as their initiators
//!     respond              the responder's side of all of them: both messages of IK; of XX messages 1 and 2
//!     continue             XX: the initiators' message 3, not the responders' work
//!     finish               XX: the responders read message 3; both: transport states
//!     check                every initiator finishes, and understands a transport message
//!
//! Whoever drives it reads this process's CPU time around `respond` and `finish`, while it waits for a line.

use std::error::Error;
use std::io::{self, BufRead, Write};

use snow::{params::NoiseParams, Builder, HandshakeState, Keypair, TransportState};

const MAX_MESSAGE: usize = 65_535;

struct Bench {
    params: NoiseParams,
    key: Keypair,
    initiators: Vec<HandshakeState>,
    /// What goes to the other end next.
    messages: Vec<Vec<u8>>,
    responders: Vec<HandshakeState>,
    transports: Vec<TransportState>,
}

impl Bench {
    fn prepare(name: &str, count: usize) -> Result<Self, Box<dyn Error>> {
        let params: NoiseParams = name.parse()?;
        let key = Builder::new(params.clone()).generate_keypair()?;
        let mut bench = Self {
            params,
            key,
            initiators: Vec::new(),
            messages: Vec::new(),
            responders: Vec::with_capacity(count),
            transports: Vec::with_capacity(count),
        };
        let mut buffer = vec![0; MAX_MESSAGE];
        for _ in 0..count {
            let own = Builder::new(bench.params.clone()).generate_keypair()?;
            let mut builder = Builder::new(bench.params.clone()).local_private_key(&own.private)?;
            if name.contains("_IK_") {
                builder = builder.remote_public_key(&bench.key.public)?;
            }
            let mut initiator = builder.build_initiator()?;
            let size = initiator.write_message(&[], &mut buffer)?;
            bench.messages.push(buffer[..size].to_vec());
            bench.initiators.push(initiator);
        }
        Ok(bench)
    }

    fn respond(&mut self) -> Result<(), Box<dyn Error>> {
        let (mut incoming, mut outgoing) = (vec![0; MAX_MESSAGE], vec![0; MAX_MESSAGE]);
        for message in &mut self.messages {
            let mut responder = Builder::new(self.params.clone())
                .local_private_key(&self.key.private)?
                .build_responder()?;
            responder.read_message(message, &mut incoming)?;
            let size = responder.write_message(&[], &mut outgoing)?;
            *message = outgoing[..size].to_vec();
            self.responders.push(responder);
        }
        Ok(())
    }

    fn proceed(&mut self) -> Result<(), Box<dyn Error>> {
        let (mut incoming, mut outgoing) = (vec![0; MAX_MESSAGE], vec![0; MAX_MESSAGE]);
        for (initiator, message) in self.initiators.iter_mut().zip(&mut self.messages) {
            initiator.read_message(message, &mut incoming)?;
            let size = initiator.write_message(&[], &mut outgoing)?;
            *message = outgoing[..size].to_vec();
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Box<dyn Error>> {
        let mut incoming = vec![0; MAX_MESSAGE];
        for (mut responder, message) in self.responders.drain(..).zip(&self.messages) {
            if !responder.is_handshake_finished() {
                responder.read_message(message, &mut incoming)?;
            }
            self.transports.push(responder.into_transport_mode()?);
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Box<dyn Error>> {
        let (mut sealed, mut opened) = (vec![0; MAX_MESSAGE], vec![0; MAX_MESSAGE]);
        let pairs = self.initiators.drain(..).zip(&self.messages).zip(&mut self.transports);
        for ((mut initiator, message), responder) in pairs {
            if !initiator.is_handshake_finished() {
                initiator.read_message(message, &mut opened)?;
            }
            let mut initiator = initiator.into_transport_mode()?;
            let size = responder.write_message(b"hello", &mut sealed)?;
            let size = initiator.read_message(&sealed[..size], &mut opened)?;
            if &opened[..size] != b"hello" {
                return Err("the two ends do not understand each other".into());
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut stdout = io::stdout().lock();
    let mut bench = None;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match (&words[..], &mut bench) {
            (["prepare", name, count], _) => bench = Some(Bench::prepare(name, count.parse()?)?),
            (["respond"], Some(bench)) => bench.respond()?,
            (["continue"], Some(bench)) => bench.proceed()?,
            (["finish"], Some(bench)) => bench.finish()?,
            (["check"], Some(bench)) => bench.check()?,
            _ => return Err(format!("no such request, or not now: {line}").into()),
        }
        writeln!(stdout, "ok")?;
        stdout.flush()?;
    }
    Ok(())
}
