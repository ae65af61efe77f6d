//! Tables of texts and what is understood of them.

use super::*;
use crate::instruction::{CommandLine, Kind, Transfer, Word};
use crate::lint::Check;
use crate::render;

fn source(text: &str) -> Source {
    Source { name: "Dockerfile".into(), text: text.into() }
}

fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.text.as_str()).collect()
}

/// One line for each instruction, then one for each mistake.
fn dump(text: &str) -> String {
    let (file, diagnostics) = parse(source(text));
    let mut out: Vec<String> = file.instructions.iter().map(|instruction| show(&instruction.kind)).collect();
    out.extend(diagnostics.iter().map(|diagnostic| {
        let line = diagnostic.span.as_ref().map_or(0, |span| crate::lines(&file.source, span).0);
        let hint = diagnostic.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{line}: {}{hint}", diagnostic.message)
    }));
    out.join("\n")
}

fn show(kind: &Kind) -> String {
    match kind {
        Kind::From(from) => {
            let name = from.name.as_ref().map(|name| format!(" as {}", name.text)).unwrap_or_default();
            let platform = from.platform.as_ref().map(|platform| format!(" for {}", platform.text)).unwrap_or_default();
            format!("from {}{name}{platform}", from.base.text)
        }
        Kind::Arg(arguments) => {
            let shown: Vec<String> = arguments
                .iter()
                .map(|a| a.default.as_ref().map_or(a.key.text.clone(), |default| format!("{}={}", a.key.text, default.text)))
                .collect();
            format!("arg {shown:?}")
        }
        Kind::Env(pairs) | Kind::Label(pairs) => {
            let shown: Vec<String> = pairs.iter().map(|pair| format!("{}={}", pair.key.text, pair.value.text)).collect();
            format!("pairs {shown:?}")
        }
        Kind::Run(run) => {
            let heredocs: Vec<String> = run.heredocs.iter().map(|h| format!("{}:{:?}", h.opening.name, h.content)).collect();
            format!("run {} {heredocs:?} {:?}", command(&run.command), texts(&run.mounts))
        }
        Kind::Copy(transfer) => format!("copy {}", copy(transfer)),
        Kind::Add(transfer) => format!("add {}", copy(transfer)),
        Kind::Cmd(line) | Kind::Entrypoint(line) => format!("command {}", command(line)),
        Kind::Shell(words) => format!("shell {words:?}"),
        Kind::Healthcheck(check) => format!(
            "healthcheck {:?} {} {} {} {} {}",
            check.test, check.interval, check.timeout, check.start_period, check.start_interval, check.retries
        ),
        Kind::Expose(words) => format!("expose {:?}", texts(words)),
        Kind::Volume(words) => format!("volume {:?}", texts(words)),
        Kind::User(word) | Kind::Workdir(word) | Kind::StopSignal(word) | Kind::Maintainer(word) | Kind::Onbuild(word) => {
            format!("text {:?}", word.text)
        }
    }
}

fn command(line: &CommandLine) -> String {
    match line {
        CommandLine::Exec(words) => format!("{words:?}"),
        CommandLine::Shell(text) => format!("sh {text:?}"),
    }
}

fn copy(transfer: &Transfer) -> String {
    let documents: Vec<String> = transfer.documents.iter().map(|d| format!("{}:{:?}", d.opening.name, d.body())).collect();
    let from = transfer.from.as_ref().map(|from| format!(" from {}", from.text)).unwrap_or_default();
    format!("{:?} {documents:?} -> {}{from}", texts(&transfer.sources), transfer.target.text)
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(dump(text), expected.join("\n"), "{text}");
}

#[test]
fn lines_are_joined() {
    check("FROM a\nRUN x \\\n  y\n", &["from a", r#"run sh "x   y" [] []"#]);
    check("FROM a\nRUN x \\\n# comment\n  && y", &["from a", r#"run sh "x   && y" [] []"#]);
    check("FROM a\nRUN x \\  \n\n y", &["from a", r#"run sh "x  y" [] []"#]);
    check("FROM a\nRUN x \\", &["from a", r#"run sh "x" [] []"#]);
    check("FROM a\nRUN x \\\\\nUSER b", &["from a", r#"run sh "x \\\\" [] []"#, r#"text "b""#]);
    check("  FROM a\r\n\r\nRUN x \\\r\n y\r\n", &["from a", r#"run sh "x  y" [] []"#]);
    check("FROM a\n\\\nUSER b", &["from a", r#"text "b""#]);
    check("from a\nuSeR # b", &["from a", r##"text "# b""##]);
    check("MAINTAINER \"Docker \\\nIO <io@\\\ndocker.com>\"", &[r#"text "\"Docker IO <io@docker.com>\"""#]);
}

#[test]
fn the_first_lines_direct_the_parser() {
    check("# escape=`\nFROM a\nRUN x `\n y", &["from a", r#"run sh "x  y" [] []"#]);
    check("# a comment\n# escape=`\nFROM a\nRUN x \\\n y", &["from a", r#"run sh "x  y" [] []"#]);
    check("#escape = ` \n#syntax=docker/dockerfile:1\nFROM a\nENV x=`$y", &["from a", r#"pairs ["x=`$y"]"#]);
    check("# escape=x\nFROM a", &["from a", "1: invalid escape token 'x' does not match ` or \\"]);
    check("# escape=\\\n# escape=`\nFROM a", &["from a", "2: only one escape parser directive can be used"]);
    check("\u{feff}# escape=`\nFROM a\nUSER b`\nc", &["from a", r#"text "bc""#]);
    for (text, syntax) in [
        ("# syntax=docker/dockerfile:1.4\nFROM a", Some("docker/dockerfile:1.4")),
        ("#!/usr/bin/env x\n# Syntax = docker/dockerfile:1 # more\nFROM a", Some("docker/dockerfile:1 # more")),
        ("// syntax=docker/dockerfile:1\nFROM a", Some("docker/dockerfile:1")),
        ("{\"syntax\": \"docker/dockerfile:1\"}", Some("docker/dockerfile:1")),
        ("# comment\n# syntax=docker/dockerfile:1\nFROM a", None),
        ("\n# syntax=docker/dockerfile:1\nFROM a", None),
        ("# unknown=1\n# syntax=docker/dockerfile:1\nFROM a", None),
        ("# check=skip=all\n# syntax=x\nFROM a", Some("x")),
    ] {
        let (file, _) = parse(source(text));
        assert_eq!(file.directives.syntax.map(|word| word.text).as_deref(), syntax, "{text}");
    }
}

#[test]
fn other_frontends_are_refused_by_name() {
    let (_, diagnostics) = parse(source("# syntax=docker.io/me/frontend:1 x\nNOT A DOCKERFILE"));
    let messages: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(messages, ["the frontend `docker.io/me/frontend:1` is not supported"]);
    for own in
        ["docker/dockerfile:1", "docker.io/docker/dockerfile-upstream:master-labs", "dockerfile.v0", "docker/dockerfile@sha256:x"]
    {
        assert_eq!(foreign_frontend(own, None), None, "{own}");
    }
}

#[test]
fn heredocs_are_read() {
    check(
        "FROM a\nRUN <<EOF\nx\n  y # z\nEOF\nUSER b",
        &["from a", r#"run sh "<<EOF" ["EOF:\"x\\n  y # z\\n\""] []"#, r#"text "b""#],
    );
    check("FROM a\nCOPY <<-A <<\"B\" c /d/\n\tx\n\tA\ny\nB", &["from a", r#"copy ["c"] ["A:\"x\\n\"", "B:\"y\\n\""] -> /d/"#]);
    check(
        "FROM a\nRUN cat <<A <<B \\\n  > x\n1\nA\n2\nB",
        &["from a", r#"run sh "cat <<A <<B   > x" ["A:\"1\\n\"", "B:\"2\\n\""] []"#],
    );
    check("FROM a\nRUN [\"<<EOF\"]\nUSER b", &["from a", r#"run ["<<EOF"] [] []"#, r#"text "b""#]);
    check("FROM a\nENV x=<<EOF\nUSER b", &["from a", r#"pairs ["x=<<EOF"]"#, r#"text "b""#]);
    check("FROM a\nONBUILD RUN <<EOF\nx\nEOF\nUSER b", &["from a", r#"text "RUN <<EOF\nx\nEOF""#, r#"text "b""#]);
    check("FROM a\nRUN <<EOF\nx", &["from a", "2: unterminated heredoc (the heredoc ends with a line that is only `EOF`)"]);
    check("FROM a\nCOPY x <<EOF\nEOF", &["from a", "2: COPY cannot accept a heredoc as a destination"]);
    check("FROM a\nRUN <<EOF\r\nx\r\nEOF\r\nUSER b", &["from a", r#"run sh "<<EOF" ["EOF:\"x\\r\\n\""] []"#, r#"text "b""#]);
}

#[test]
fn flags_stand_before_the_arguments() {
    check("FROM --platform=$P a AS B", &["from a as b for $P"]);
    check("FROM a\nCOPY --from=x --link=false a b", &["from a", r#"copy ["a"] [] -> b from x"#]);
    check(
        "FROM a\nRUN --mount=type=cache,target=/x --mount=target=/y z",
        &["from a", r#"run sh "z" [] ["type=cache,target=/x", "target=/y"]"#],
    );
    check("FROM a\nRUN --mont=x y", &["from a", "2: unknown flag: --mont (did you mean mount?)"]);
    check("FROM a\nUSER --x y", &["from a", "2: unknown flag: --x"]);
    check("FROM a\nCOPY --chown a b", &["from a", "2: missing a value on flag: --chown"]);
    check("FROM a\nRUN --network=nothing x", &["from a", "2: invalid network mode \"nothing\""]);
    check("FROM a\nRUN --security=x y", &["from a", "2: security \"x\" is not valid"]);
    check(
        "FROM a\nRUN --mount=from=$X,target=/y z",
        &["from a", "2: 'from' doesn't support variable expansion, define alias stage instead"],
    );
    check("FROM a\nADD --from=x a b", &["from a", "2: unknown flag: --from"]);
}

#[test]
fn json_is_the_exec_form() {
    check("FROM a\nRUN [\"a\", \"b c\"]", &["from a", r#"run ["a", "b c"] [] []"#]);
    check("FROM a\nCMD ['a']", &["from a", r#"command sh "['a']""#]);
    check("FROM a\nCMD [\"a\", 1]", &["from a", "2: when using JSON array syntax, arrays must be comprised of strings only"]);
    check("FROM a\nCOPY [\"a b\", \"/c d/\"]", &["from a", r#"copy ["a b"] [] -> /c d/"#]);
    check("FROM a\nVOLUME [\"/a\", \" /b \"]\nVOLUME /c /d", &["from a", r#"volume ["/a", "/b"]"#, r#"volume ["/c", "/d"]"#]);
    check(
        "FROM a\nSHELL [\"a\"]\nSHELL a",
        &["from a", r#"shell ["a"]"#, "3: SHELL requires the arguments to be in JSON form (SHELL [\"/bin/sh\", \"-c\"])"],
    );
    check("FROM a\nRUN []", &["from a", "2: arguments are required for RUN"]);
    check("FROM a\nRUN\nCMD", &["from a", r#"run sh "" [] []"#, r#"command sh """#]);
}

#[test]
fn pairs_have_two_forms() {
    check("FROM a\nENV a=b c=\"d e\" f='g'", &["from a", r#"pairs ["a=b", "c=\"d e\"", "f='g'"]"#]);
    check("FROM a\nENV a b   c \"d\"", &["from a", r#"pairs ["a=b   c \"d\""]"#]);
    check(
        "FROM a\nENV a=b c",
        &[
            "from a",
            "2: Syntax error - can't find = in \"c\". Must be of the form: name=value (quote a value that has spaces, or escape them)",
        ],
    );
    check("FROM a\nENV a", &["from a", "2: ENV must have two arguments"]);
    check("FROM a\nLABEL =b", &["from a", "2: LABEL names can not be blank"]);
    check("ARG a b=c d=\"e f\"", &[r#"arg ["a", "b=c", "d=\"e f\""]"#]);
    check("ARG =x", &["1: ARG names can not be blank"]);
}

#[test]
fn health_checks_are_read() {
    check("FROM a\nHEALTHCHECK NONE", &["from a", r#"healthcheck ["NONE"] 0 0 0 0 0"#]);
    check(
        "FROM a\nHEALTHCHECK --interval=1m --timeout=3s --start-period=1s --start-interval=2s --retries=4 CMD x y",
        &["from a", r#"healthcheck ["CMD-SHELL", "x y"] 60000000000 3000000000 1000000000 2000000000 4"#],
    );
    check("FROM a\nHEALTHCHECK cmd [\"x\"]", &["from a", r#"healthcheck ["CMD", "x"] 0 0 0 0 0"#]);
    check("FROM a\nHEALTHCHECK --interval=1ns CMD x", &["from a", "2: Interval \"interval\" cannot be less than 1ms"]);
    check("FROM a\nHEALTHCHECK NONE x", &["from a", "2: HEALTHCHECK NONE takes no arguments"]);
    check("FROM a\nHEALTHCHECK x", &["from a", "2: Unknown type \"X\" in HEALTHCHECK (try CMD)"]);
    check("FROM a\nHEALTHCHECK CMD", &["from a", "2: Missing command after HEALTHCHECK CMD"]);
    check("FROM a\nHEALTHCHECK --retries=-1 CMD x", &["from a", "2: --retries cannot be negative (-1)"]);
}

#[test]
fn missing_arguments_are_named() {
    for (text, message) in [
        ("ADD", "ADD requires at least two arguments, but only one was provided. Destination could not be determined"),
        ("COPY a", "COPY requires at least two arguments, but only one was provided. Destination could not be determined"),
        ("ENV", "ENV requires at least one argument"),
        ("LABEL", "LABEL requires at least one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("VOLUME [\"\"]", "VOLUME specified can not be an empty string"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("SHELL", "SHELL requires at least one argument"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("ARG", "ARG requires at least one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ] {
        check(&format!("FROM a\n{text}"), &["from a", &format!("2: {message}")]);
    }
    check("FROM a AS", &["1: FROM requires either one or three arguments (FROM image [AS name])"]);
    check("FROM a AS 0bad", &["1: invalid name for build stage: \"0bad\", name can't start with a number or contain symbols"]);
}

#[test]
fn empty_files_are_refused() {
    check("", &["0: the Dockerfile cannot be empty"]);
    check("\n# only a comment\n", &["0: file with no instructions"]);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "FORM a\nRUNN b\nCOPY --chwon=1 x y\nFROM c\nHEALTHCHECK --interval=x CMD y\nUSER d\n";
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(render(&source(text), &parse(source(text)).1, false));
    });
}

#[test]
fn diagnostics_look_like_rustc() {
    let text = "FROM busybox\nRUN echo 1\nRUNN echo 2 \\\n  && echo 3\n";
    let (_, diagnostics) = parse(source(text));
    insta::assert_snapshot!(render(&source(text), &diagnostics, false), @r"
    error: unknown instruction: RUNN
     --> Dockerfile:3:1
      |
    3 | RUNN echo 2 \
      | ^^^^
      |
      = help: did you mean RUN?
    ");
    assert!(render(&source(text), &diagnostics, true).contains("\u{1b}["));
}

#[test]
fn long_lines_are_refused() {
    let line = |length: usize| format!("FROM a\nRUN {}\n", "x".repeat(length - 4));
    assert_eq!(parse(source(&line(65535))).1, []);
    assert_eq!(parse(source(&line(65536))).1[0].message, "dockerfile line greater than max allowed size of 65535");
}

#[test]
fn spans_point_into_continued_lines() {
    let text = "FROM a\nCOPY a \\\n  --b \\\n c\n";
    let (file, _) = parse(source(text));
    let Kind::Copy(copy) = &file.instructions[1].kind else { panic!("a COPY") };
    assert_eq!(&text[copy.sources[1].span.clone()], "--b");
    assert_eq!(&text[copy.target.span.clone()], "c");
    assert_eq!(file.lines.lines(&file.instructions[1].span), (2, 4));
}

#[test]
fn comments_choose_lints() {
    let findings = |text: &str| {
        let wanted = parse(source(text)).0.findings.wanted(&Check::default());
        wanted.into_iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(findings("FROM a AS B\nMAINTAINER x\n"), ["StageNameCasing", "MaintainerDeprecated"]);
    assert_eq!(
        findings("# check=skip=all\n\n# x\n# check=skip=StageNameCasing\nFROM a AS B\nMAINTAINER x\n"),
        ["MaintainerDeprecated"]
    );
    assert_eq!(findings("FROM a as b\nRUN x \\\n\n y\n"), ["FromAsCasing", "NoEmptyContinuation"]);
    assert_eq!(findings("from a as b\n"), [""; 0]);
}

/// A step that looks at all that came before would not end in a time that one waits for.
#[test]
fn large_files_cost_linear_time() {
    let mut text = String::from("FROM a\n");
    for number in 0..10_000 {
        text.push_str("RUN echo \"line $X\" <<EOF && \\\n  true\nbody\nEOF\nCOPY --from=a --chown=1:2 b c /d/\n");
        text.push_str(&format!("ENV a{number}=b c=\"$d e\"\n"));
    }
    let (file, diagnostics) = parse(source(&text));
    assert_eq!((file.instructions.len(), diagnostics.len()), (30_001, 0));
    let one_instruction = format!("FROM a\nRUN x \\\n{}y", " z \\\n".repeat(100_000));
    assert_eq!(parse(source(&one_instruction)).0.instructions.len(), 2);
    let garbage = "garbage --x=\"\n".repeat(100_000);
    assert_eq!(parse(source(&garbage)).1.len(), MOST_MISTAKES);
}

proptest::proptest! {
    #[test]
    fn any_text_is_survived(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (file, diagnostics) = parse(source(&text));
        assert_eq!(render(&file.source, &diagnostics, true).is_empty(), diagnostics.is_empty());
    }

    #[test]
    fn any_instructions_are_survived(lines in proptest::collection::vec(
        ("(FROM|RUN|COPY|ADD|ENV|ARG|LABEL|CMD|SHELL|HEALTHCHECK|ONBUILD|EXPOSE|#|# escape=`|VOLUME|WORKDIR|EOF|)", r#"[ a-c$:=<\[\]"'\\`\-,{}EOF\t\né]{0,24}"#), 0..12)) {
        let text: String = lines.into_iter().map(|(name, rest)| format!("{name} {rest}\n")).collect();
        let (file, diagnostics) = parse(source(&text));
        for diagnostic in diagnostics.iter().filter_map(|diagnostic| diagnostic.span.clone()) {
            assert!(text.get(diagnostic.clone()).is_some(), "{diagnostic:?} in {text:?}");
        }
        for instruction in &file.instructions {
            assert!(text.get(instruction.span.clone()).is_some());
        }
        assert_eq!(render(&file.source, &diagnostics, false).is_empty(), diagnostics.is_empty());
    }
}
