//! Sources.

use rbuild_oci::Digest;

use crate::{Encoder, GitSource, HttpSource, ImageSource, LocalSource, SourceOp};

pub(super) fn encode(to: &mut Encoder, source: &SourceOp) {
    match source {
        SourceOp::Image(ImageSource { manifest }) => {
            to.tag(1);
            encode_digest(to, manifest);
        }
        SourceOp::Local(LocalSource { name }) => {
            to.tag(2);
            to.text(name);
        }
        SourceOp::Http(HttpSource { url, filename, mode, uid, gid, checksum }) => {
            to.tag(3);
            to.text(url);
            to.text(filename);
            to.u32(*mode);
            to.u32(*uid);
            to.u32(*gid);
            to.option(checksum.as_ref(), encode_digest);
        }
        SourceOp::Git(GitSource { remote, reference, subdir, keep_git_dir, checksum }) => {
            to.tag(4);
            to.text(remote);
            to.option(reference.as_deref(), Encoder::text);
            to.option(subdir.as_deref(), Encoder::text);
            to.bool(*keep_git_dir);
            to.option(checksum.as_deref(), Encoder::text);
        }
    }
}

fn encode_digest(to: &mut Encoder, digest: &Digest) {
    to.text(digest.algorithm().as_str());
    to.text(digest.hex());
}
