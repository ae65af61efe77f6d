//! `rbuild run`: processes, exit codes, options.

use rbuild_tests::{Rbuild, context, is_root};

#[track_caller]
fn check(rbuild: &Rbuild, args: &[&str], code: i32, stdout: &str) {
    let outcome = rbuild.run(&[&["run", "--rm"], args].concat());
    assert_eq!((outcome.code, outcome.stdout.as_str()), (code, stdout), "{args:?}: {}", outcome.stderr);
}

#[test]
fn exit_codes_and_options_are_dockers() {
    if !is_root("exit_codes_and_options_are_dockers") {
        return;
    }
    let rbuild = Rbuild::new();
    let dir = context(&[("f", "from the host")]);
    let volume = format!("{}:/v:ro", dir.path().display());
    check(&rbuild, &["busybox", "echo", "hello"], 0, "hello\n");
    check(&rbuild, &["busybox", "sh", "-c", "exit 3"], 3, "");
    check(&rbuild, &["busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137, "");
    check(&rbuild, &["busybox", "/etc/passwd"], 126, "");
    check(&rbuild, &["busybox", "no-such-program"], 127, "");
    check(&rbuild, &["no-such-image"], 125, "");
    check(&rbuild, &["-e", "A=1", "-w", "/made/here", "busybox", "sh", "-c", "echo $A $PWD"], 0, "1 /made/here\n");
    check(&rbuild, &["-u", "www-data", "busybox", "id", "-un"], 0, "www-data\n");
    check(&rbuild, &["-u", "12:34", "busybox", "sh", "-c", "echo $(id -u) $(id -g)"], 0, "12 34\n");
    check(&rbuild, &["-v", &volume, "busybox", "cat", "/v/f"], 0, "from the host");
    check(&rbuild, &["-v", &volume, "busybox", "sh", "-c", "echo x >/v/f 2>/dev/null || echo refused"], 0, "refused\n");
    check(
        &rbuild,
        &["--read-only", "--tmpfs", "/t", "busybox", "sh", "-c", "echo x >/t/f; touch /f 2>/dev/null || echo refused"],
        0,
        "refused\n",
    );
    check(&rbuild, &["--hostname", "box", "busybox", "hostname"], 0, "box\n");
    check(&rbuild, &["--network", "none", "busybox", "ls", "/sys/class/net"], 0, "lo\n");
    check(&rbuild, &["--entrypoint", "echo", "busybox", "a", "b"], 0, "a b\n");
    check(&rbuild, &["busybox", "sh", "-c", "echo $$; grep CapEff /proc/self/status"], 0, "1\nCapEff:\t00000000a80425fb\n");
}

#[test]
fn an_image_that_was_just_built_runs() {
    if !is_root("an_image_that_was_just_built_runs") {
        return;
    }
    let rbuild = Rbuild::new();
    let context = context(&[
        (
            "Dockerfile",
            "FROM busybox\nENV GREETING=hi\nWORKDIR /w\nCOPY f .\nENTRYPOINT [\"sh\", \"-c\", \"echo $GREETING $0 $(cat f)\"]\nCMD [\"default\"]\n",
        ),
        ("f", "file"),
    ]);
    rbuild.ok(&["build", "-t", "app", &context.path().to_string_lossy()]);
    check(&rbuild, &["app"], 0, "hi default file\n");
    check(&rbuild, &["app", "given"], 0, "hi given file\n");
    check(&rbuild, &["-e", "GREETING=ho", "app"], 0, "ho default file\n");
}

#[test]
fn a_terminal_is_a_terminal() {
    if !is_root("a_terminal_is_a_terminal") {
        return;
    }
    let rbuild = Rbuild::new();
    let command = rbuild.command(&["run", "--rm", "-t", "busybox", "tty"]);
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ");
    let output = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("RBUILD_ROOT", rbuild.state())
        .stdin(std::process::Stdio::null())
        .output();
    let output = output.expect("script, from util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("/dev/pts/0") || text.contains("/dev/console"), "{text}");
}
