//! ML-KEM-1024 (FIPS 203), of the crate `ml-kem`, where snow asks for its "Kyber1024", which has the same sizes.

use ml_kem::{
    kem::{Decapsulate, KeyExport},
    ml_kem_1024::{DecapsulationKey, EncapsulationKey},
};
use snow::{
    params::{CipherChoice, DHChoice, HashChoice, KemChoice},
    resolvers::{CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Kem, Random},
    Error,
};

const LENGTH: usize = 1568;
const SECRET: usize = 32;

/// snow's own algorithms, but for the KEM.
#[derive(Default)]
pub struct Resolver(DefaultResolver);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        self.0.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        self.0.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        self.0.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        self.0.resolve_cipher(choice)
    }

    fn resolve_kem(&self, _choice: &KemChoice) -> Option<Box<dyn Kem>> {
        Some(Box::new(MlKem1024 { private: None, public: Vec::new() }))
    }
}

struct MlKem1024 {
    private: Option<DecapsulationKey>,
    public: Vec<u8>,
}

impl Kem for MlKem1024 {
    fn name(&self) -> &'static str {
        "MLKEM1024"
    }

    fn pub_len(&self) -> usize {
        LENGTH
    }

    fn ciphertext_len(&self) -> usize {
        LENGTH
    }

    fn shared_secret_len(&self) -> usize {
        SECRET
    }

    fn generate(&mut self, rng: &mut dyn Random) {
        let mut seed = [0; 64];
        rng.try_fill_bytes(&mut seed).expect("the system has randomness");
        let private = DecapsulationKey::from_seed(seed.into());
        self.public = private.encapsulation_key().to_bytes().to_vec();
        self.private = Some(private);
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn encapsulate(
        &self,
        pubkey: &[u8],
        shared_secret_out: &mut [u8],
        ciphertext_out: &mut [u8],
    ) -> Result<(usize, usize), Error> {
        let key = pubkey.try_into().map_err(|_| Error::Kem)?;
        let public = EncapsulationKey::new(key).map_err(|_| Error::Kem)?;
        let mut message = [0; SECRET];
        let mut rng = DefaultResolver.resolve_rng().ok_or(Error::Kem)?;
        rng.try_fill_bytes(&mut message)?;
        let (ciphertext, secret) = public.encapsulate_deterministic(&message.into());
        shared_secret_out.copy_from_slice(&secret);
        ciphertext_out.copy_from_slice(&ciphertext);
        Ok((SECRET, LENGTH))
    }

    fn decapsulate(&self, ciphertext: &[u8], shared_secret_out: &mut [u8]) -> Result<usize, Error> {
        let private = self.private.as_ref().ok_or(Error::Kem)?;
        let ciphertext = ciphertext.try_into().map_err(|_| Error::Kem)?;
        shared_secret_out.copy_from_slice(&private.decapsulate(ciphertext));
        Ok(SECRET)
    }
}
