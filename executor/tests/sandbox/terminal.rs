//! A terminal of the sandbox's own.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rbuild_executor::{Exit, ExitStatus, Stdio};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::bed::{Bed, executor, runtime};

/// Runs in a terminal of 24 rows and 80 columns; `talk` gets the master and returns what it read.
fn converse(script: &str, user: &str, talk: impl FnOnce(std::fs::File) -> String + Send + 'static) -> (Exit, String) {
    let bed = Bed::new();
    runtime().block_on(async {
        let mut spec = bed.shell(script);
        spec.user = user.to_owned();
        let mut process = executor().spawn(spec, Stdio::Terminal { rows: 24, columns: 80 }).await.unwrap();
        let master: OwnedFd = process.terminal().unwrap();
        assert!(process.terminal().is_none());
        let said = tokio::task::spawn_blocking(move || talk(std::fs::File::from(master)));
        let exit = process.wait().await.unwrap();
        (exit, said.await.unwrap())
    })
}

/// Until the last end of the other side is closed, which a master shows as EIO.
fn read_all(mut master: std::fs::File) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(text).unwrap().replace("\r\n", "\n")
}

#[test]
fn the_command_controls_its_terminal() {
    let (exit, text) = converse("stty size; tty; stat -c %u /dev/pts/0; echo x >/dev/tty; echo y >/dev/console", "", read_all);
    assert_eq!((exit.status, text.as_str()), (ExitStatus::Code(0), "24 80\n/dev/pts/0\n0\nx\ny\n"));
    let (_, text) = converse("stat -c %u /dev/pts/0; echo x >/dev/tty; echo y >/dev/stdout", "app", read_all);
    assert_eq!(text, "1000\nx\ny\n");
}

#[test]
fn input_and_resizing() {
    let (exit, text) = converse("read line; stty size; echo got $line; exit 5", "", |mut master| {
        tcsetwinsize(&master, Winsize { ws_row: 10, ws_col: 20, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        master.write_all(b"hello\n").unwrap();
        read_all(master)
    });
    assert_eq!((exit.status, text.as_str()), (ExitStatus::Code(5), "hello\n10 20\ngot hello\n"));
}

#[test]
fn control_c_reaches_the_command() {
    let (exit, _) = converse("trap 'exit 33' INT; echo ready; while true; do sleep 0.01; done", "", |mut master| {
        let mut buffer = [0; 64];
        let length = master.read(&mut buffer).unwrap();
        assert!(buffer[..length].starts_with(b"ready"));
        master.write_all(b"\x03").unwrap();
        read_all(master)
    });
    assert_eq!(exit.status, ExitStatus::Code(33));
}
