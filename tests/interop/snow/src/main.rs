//! One end of a Noise handshake and its transport messages, driven over stdin and stdout.
//!
//! A request is a line of words, an answer is one line: `ok` and hex, or `error` and a reason. `-` is an empty value.
//!
//!     open NAME KEM ROLE PROLOGUE STATIC REMOTE PSK PLACE   begin anew; NAME is what is hashed, KEM mlkem or kyber
//!     write PAYLOAD      the next handshake message
//!     read MESSAGE       the payload of the peer's handshake message
//!     hash               the handshake hash
//!     split              go over to transport messages
//!     seal PAYLOAD       a transport message
//!     unseal MESSAGE     the payload of the peer's transport message

mod mlkem;

use std::io::{self, BufRead, Write};

use snow::{params::NoiseParams, Builder, HandshakeState, TransportState};

const MAX_MESSAGE: usize = 65_535;

#[derive(Default)]
enum Peer {
    #[default]
    Closed,
    Handshake(Box<HandshakeState>),
    Transport(Box<TransportState>),
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    if text == "-" {
        return Ok(Vec::new());
    }
    if text.len() % 2 != 0 || !text.is_ascii() {
        return Err("hex has an even number of digits".into());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|error| error.to_string()))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".into();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The parameters of a name. snow's parser knows no ML-KEM: it reads the Kyber name, and the field `name`, which is
/// what is hashed, gets the real one.
fn parameters(name: &str) -> Result<NoiseParams, String> {
    let mut params: NoiseParams = name
        .replace("+MLKEM1024_", "+Kyber1024_")
        .parse()
        .map_err(|error| format!("{error:?}"))?;
    params.name = name.into();
    Ok(params)
}

fn open(words: &[&str]) -> Result<HandshakeState, String> {
    let [name, kem, role, prologue, secret, remote, psk, place] = words else {
        return Err("open takes eight words".into());
    };
    let (prologue, secret, remote, psk) = (unhex(prologue)?, unhex(secret)?, unhex(remote)?, unhex(psk)?);
    let params = parameters(name)?;
    let mut builder = match *kem {
        "mlkem" => Builder::with_resolver(params, Box::new(mlkem::Resolver::default())),
        "kyber" => Builder::new(params),
        _ => return Err("the KEM is mlkem or kyber".into()),
    };
    let shown = |error: snow::Error| format!("{error:?}");
    builder = builder.prologue(&prologue).map_err(shown)?;
    if !secret.is_empty() {
        builder = builder.local_private_key(&secret).map_err(shown)?;
    }
    if !remote.is_empty() {
        builder = builder.remote_public_key(&remote).map_err(shown)?;
    }
    let key: [u8; 32];
    if !psk.is_empty() {
        key = psk.try_into().map_err(|_| "a psk has 32 bytes")?;
        let place = place.parse().map_err(|_| "the psk's place is a number")?;
        builder = builder.psk(place, &key).map_err(shown)?;
    }
    match *role {
        "initiator" => builder.build_initiator().map_err(shown),
        "responder" => builder.build_responder().map_err(shown),
        _ => Err("the role is initiator or responder".into()),
    }
}

fn answer(peer: &mut Peer, line: &str) -> Result<Vec<u8>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (command, arguments) = words.split_first().ok_or("an empty line")?;
    if *command == "open" {
        *peer = Peer::Handshake(Box::new(open(arguments)?));
        return Ok(Vec::new());
    }
    let data = unhex(arguments.first().unwrap_or(&"-"))?;
    let mut out = vec![0; MAX_MESSAGE];
    let size = match (*command, &mut *peer) {
        ("write", Peer::Handshake(state)) => state.write_message(&data, &mut out),
        ("read", Peer::Handshake(state)) => state.read_message(&data, &mut out),
        ("seal", Peer::Transport(state)) => state.write_message(&data, &mut out),
        ("unseal", Peer::Transport(state)) => state.read_message(&data, &mut out),
        ("hash", Peer::Handshake(state)) => return Ok(state.get_handshake_hash().to_vec()),
        ("split", Peer::Handshake(_)) => {
            if let Peer::Handshake(state) = std::mem::take(peer) {
                let state = state.into_transport_mode().map_err(|error| format!("{error:?}"))?;
                *peer = Peer::Transport(Box::new(state));
            }
            return Ok(Vec::new());
        }
        _ => return Err("not now, or no such command".into()),
    };
    out.truncate(size.map_err(|error| format!("{error:?}"))?);
    Ok(out)
}

fn main() -> io::Result<()> {
    let mut peer = Peer::default();
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        match answer(&mut peer, &line?) {
            Ok(bytes) => writeln!(stdout, "ok {}", hex(&bytes))?,
            Err(reason) => writeln!(stdout, "error {reason}")?,
        }
        stdout.flush()?;
    }
    Ok(())
}
