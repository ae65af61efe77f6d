//! Messages with descriptors over a SEQPACKET socket pair: each message arrives whole or not at all, and the end of the peer is an end of
//! file, however it died.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Descriptors in one message; the kernel's SCM_MAX_FD is 253.
pub(crate) const MAX_DESCRIPTORS: usize = 200;

/// Bytes in one message.
const MAX_BYTES: usize = 64 << 10;

/// Two connected ends.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message with at most [`MAX_DESCRIPTORS`]; waits while the socket is full. EPIPE when the peer is gone.
pub(crate) fn send<M: Serialize>(socket: BorrowedFd<'_>, message: &M, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(Errno::TOOBIG));
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return Ok(sent.map(|_| ())?),
        }
    }
}

/// Receives one message; `None` when the peer is gone. With `wait` false, WouldBlock when there is none yet.
pub(crate) fn receive<M: DeserializeOwned>(socket: impl AsFd, wait: bool) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = if wait { RecvFlags::CMSG_CLOEXEC } else { RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT };
    let received = loop {
        match recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            // Gone without having read everything.
            Err(Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| if let RecvAncillaryMessage::ScmRights(rights) = message { Some(rights) } else { None })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::from(Errno::MSGSIZE));
    }
    Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel_and_the_end_is_seen() {
        let (one, other) = pair().unwrap();
        let (sent, _) = pair().unwrap();
        send(one.as_fd(), &"hello", &[sent.as_fd(), sent.as_fd()]).unwrap();
        let (message, descriptors): (String, _) = receive(&other, true).unwrap().unwrap();
        assert_eq!((message.as_str(), descriptors.len()), ("hello", 2));
        let empty = receive::<String>(&other, false).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        drop(one);
        assert!(receive::<String>(&other, true).unwrap().is_none());
    }

    #[test]
    fn a_message_that_is_too_long_is_an_error() {
        let (one, other) = pair().unwrap();
        send(one.as_fd(), &"x".repeat(MAX_BYTES), &[]).unwrap();
        assert!(receive::<String>(&other, true).is_err());
    }
}
