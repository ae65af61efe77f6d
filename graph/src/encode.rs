//! The canonical encoding that digests are computed over.
//!
//! ```text
//! digest    = BLAKE3(text(domain) item*)          the domain names the kind and the version: "rbuild.vertex.v1"
//! integer   = little endian, fixed width
//! bool, tag = one byte
//! text      = u64 length, bytes                   also byte strings
//! list      = u64 count, items
//! option    = 0 | 1 item
//! ```
//!
//! Every item is self-delimiting, so two different values never encode to the same bytes. A change of an encoding needs a new domain.

/// Writes the canonical encoding straight into a hash.
#[derive(Clone, Debug)]
pub struct Encoder {
    hash: blake3::Hasher,
    purpose: Purpose,
}

/// What is being hashed: some fields belong to a vertex's identity, but not to its cache key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Everything that a vertex says.
    Identity,
    /// What its result depends on.
    Key,
}

impl Encoder {
    /// Starts an encoding. `domain` names what is encoded, with its version.
    #[must_use]
    pub fn new(domain: &str) -> Encoder {
        Encoder::for_purpose(domain, Purpose::Identity)
    }

    pub(crate) fn for_purpose(domain: &str, purpose: Purpose) -> Encoder {
        let mut encoder = Encoder { hash: blake3::Hasher::new(), purpose };
        encoder.text(domain);
        encoder
    }

    pub(crate) fn is_key(&self) -> bool {
        self.purpose == Purpose::Key
    }

    /// The tag of an enum's variant, or of the presence of an option.
    pub fn tag(&mut self, tag: u8) {
        self.raw(&[tag]);
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        self.tag(u8::from(value));
    }

    /// An unsigned number of 32 bits.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    /// An unsigned number of 64 bits.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// A signed number of 64 bits.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_le_bytes());
    }

    /// A byte string with its length.
    pub fn bytes(&mut self, value: &[u8]) {
        self.u64(value.len() as u64);
        self.raw(value);
    }

    /// A text with its length in bytes.
    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// 32 bytes, of another digest.
    pub fn digest(&mut self, value: &[u8; 32]) {
        self.raw(value);
    }

    /// A list: its length, then each item by `each`.
    pub fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Encoder, &T)) {
        self.u64(items.len() as u64);
        for item in items {
            each(self, item);
        }
    }

    /// An optional item.
    pub fn option<T: ?Sized>(&mut self, item: Option<&T>, some: impl FnOnce(&mut Encoder, &T)) {
        self.bool(item.is_some());
        if let Some(item) = item {
            some(self, item);
        }
    }

    /// The digest of all that was written.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        *self.hash.finalize().as_bytes()
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }
}
