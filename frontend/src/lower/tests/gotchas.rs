//! One test for each rule of the specification's list of gotchas (G-1 …) that the frontend answers for.

use rbuild_graph::{ExecOp, FileActionKind, Op, SourceOp};

use super::{Case, case, image, layout};
use crate::options::Lowered;

fn env(lowered: &Lowered) -> Vec<&str> {
    lowered.config.config.env.iter().map(String::as_str).filter(|entry| !entry.starts_with("PATH=")).collect()
}

fn execs(lowered: &Lowered) -> Vec<&ExecOp> {
    let ops = lowered.graph.iter().map(|(_, vertex, _)| &vertex.op);
    ops.filter_map(|op| if let Op::Exec(exec) = op { Some(exec) } else { None }).collect()
}

fn created_by(lowered: &Lowered) -> Vec<&str> {
    lowered.history.iter().filter_map(|step| step.entry.created_by.as_deref()).collect()
}

fn run_env(case: &Case) -> Vec<String> {
    let lowered = case.good();
    execs(&lowered)[0].env.iter().filter(|entry| !entry.starts_with("PATH=")).cloned().collect()
}

#[test]
fn g01_env_expands_against_the_previous_environment() {
    let lowered = case("FROM scratch\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc").good();
    assert_eq!(env(&lowered), ["abc=bye", "def=hello", "ghi=bye"]);
}

#[test]
fn g02_arg_defaults_expand_only_when_used() {
    let text = "FROM scratch\nARG FOO\nARG BAR=${FOO:?\"foo missing\"}\nENV R=$BAR";
    assert!(case(text).bad().contains("FOO: foo missing"));
    assert_eq!(env(&case(text).arg("FOO", "123").good()), ["R=123"]);
    assert_eq!(env(&case(text).arg("BAR", "456").good()), ["R=456"]);
}

#[test]
fn g03_arg_after_env_wins() {
    let after = case("FROM busybox\nENV x=y\nARG x\nRUN a").arg("x", "z");
    assert_eq!(run_env(&after), ["x=z"]);
    assert_eq!(env(&after.good()), ["x=y"]);
    let before = case("FROM busybox\nARG x\nENV x=y\nRUN a").arg("x", "z");
    assert_eq!(run_env(&before), ["x=y"]);
}

#[test]
fn g04_global_args_are_invisible_until_declared() {
    assert_eq!(run_env(&case("ARG V=g\nFROM busybox\nRUN a")), [""; 0]);
    assert_eq!(run_env(&case("ARG V=g\nFROM busybox\nARG V TARGETARCH\nRUN a")), ["V=g", "TARGETARCH=amd64"]);
}

#[test]
fn g05_stages_inherit_args() {
    assert_eq!(run_env(&case("FROM busybox AS a\nARG V=1\nFROM a\nRUN x")), ["V=1"]);
}

#[test]
fn g06_a_context_goes_before_a_stage_and_an_image() {
    let text = "FROM scratch AS busybox\nCOPY a /\nFROM busybox";
    let lowered = case(text).context("busybox", layout("busybox")).good();
    assert_eq!(lowered.base.map(|base| base.reference).as_deref(), Some("busybox"));
    assert!(case(text).good().base.is_none());
}

#[test]
fn g07_the_last_of_equal_names_wins() {
    let lowered = case("FROM scratch AS a\nENV x=1\nFROM scratch AS a\nENV x=2\nFROM a").good();
    assert_eq!(env(&lowered), ["x=2"]);
}

#[test]
fn g08_an_image_without_layers_is_scratch() {
    let lowered = case("FROM none").image("none", image("{}", 0)).good();
    assert!(lowered.result.is_none() && lowered.graph.is_empty() && lowered.base.is_some());
}

#[test]
fn g09_unreachable_stages_are_not_resolved() {
    assert!(case("FROM nowhere AS unused\nRUN x\nFROM scratch").good().graph.is_empty());
}

#[test]
fn g10_targets_have_names_and_numbers_are_refused() {
    let text = "FROM scratch AS One\nENV x=1\nFROM scratch\nENV x=2";
    assert_eq!(env(&case(text).with(|o| o.target = Some("ONE".into())).good()), ["x=1"]);
    assert!(case(text).with(|o| o.target = Some("0".into())).bad().contains("target stage \"0\" could not be found"));
    assert_eq!(env(&case(text).good()), ["x=2"]);
}

#[test]
fn g11_shell_is_kept_and_rendered() {
    let lowered = case("FROM busybox AS a\nSHELL [\"/bin/ash\", \"-e\"]\nFROM a\nRUN x\nCMD y\nHEALTHCHECK CMD z").good();
    assert_eq!(execs(&lowered)[0].args, ["/bin/ash", "-e", "x"]);
    let config = lowered.config.config;
    assert_eq!(config.cmd.unwrap(), ["/bin/ash", "-e", "y"]);
    assert_eq!(config.healthcheck.unwrap().test, ["CMD-SHELL", "z"]);
    assert_eq!(config.shell.unwrap(), ["/bin/ash", "-e"]);
}

#[test]
fn g12_shell_forms_are_not_expanded() {
    let lowered = case("FROM busybox\nENV x=1\nRUN echo $x\nCMD echo $x").good();
    assert_eq!(execs(&lowered)[0].args, ["/bin/sh", "-c", "echo $x"]);
    assert_eq!(lowered.config.config.cmd.unwrap(), ["/bin/sh", "-c", "echo $x"]);
}

#[test]
fn g13_entrypoint_resets_only_an_inherited_command() {
    assert_eq!(case("FROM busybox\nENTRYPOINT [\"e\"]").good().config.config.cmd, None);
    let same = case("FROM busybox\nCMD [\"c\"]\nENTRYPOINT [\"e\"]").good();
    assert_eq!(same.config.config.cmd.unwrap(), ["c"]);
    let after = case("FROM busybox\nENTRYPOINT [\"e\"]\nCMD [\"c\"]").good();
    assert_eq!(after.config.config.cmd.unwrap(), ["c"]);
    assert_eq!(case("FROM scratch AS a\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]").good().config.config.cmd, None);
}

#[test]
fn g14_cmd_sets_args_escaped() {
    assert_eq!(case("FROM scratch\nCMD [\"c\"]").good().config.config.args_escaped, Some(true));
    assert_eq!(case("FROM scratch\nENTRYPOINT [\"c\"]").good().config.config.args_escaped, None);
}

#[test]
fn g15_health_checks_have_three_forms() {
    let test = |text: &str| case(&format!("FROM scratch\nHEALTHCHECK {text}")).good().config.config.healthcheck.unwrap().test;
    assert_eq!(test("CMD [\"a\"]"), ["CMD", "a"]);
    assert_eq!(test("CMD a"), ["CMD-SHELL", "a"]);
    assert_eq!(test("NONE"), ["NONE"]);
}

#[test]
fn g16_triggers_are_run_and_cleared() {
    let base = image(r#"{"OnBuild":["ENV t=1"],"User":"u","StopSignal":"9"}"#, 1);
    let lowered = case("FROM base AS child\nFROM child").image("base", base).good();
    assert_eq!(env(&lowered), ["t=1"]);
    let config = &lowered.config.config;
    assert!(config.on_build.is_empty());
    assert_eq!((config.user.as_str(), config.stop_signal.as_deref()), ("u", Some("9")));
    assert_eq!(created_by(&lowered).iter().filter(|entry| **entry == "ENV t=1").count(), 1);
}

#[test]
fn g17_triggers_run_before_the_own_lines() {
    let base = image(r#"{"OnBuild":["RUN one","COPY --from=tools /x /"]}"#, 1);
    let lowered = case("FROM scratch AS tools\nCOPY x /\nFROM base\nRUN own").image("base", base).good();
    let steps: Vec<&str> = created_by(&lowered).into_iter().skip(1).collect();
    assert_eq!(steps, ["RUN /bin/sh -c one # buildkit", "COPY /x / # buildkit", "RUN /bin/sh -c own # buildkit"]);
    let local = case("FROM scratch AS a\nONBUILD ENV x=1\nFROM a").good();
    assert_eq!(env(&local), ["x=1"]);
}

#[test]
fn g18_expose_takes_ranges_and_variables() {
    let lowered = case("FROM scratch\nARG P=\"3000 4000/udp\"\nEXPOSE $P 8000-8002/tcp 127.0.0.1:1:2").good();
    let ports: Vec<&String> = lowered.config.config.exposed_ports.keys().collect();
    assert_eq!(ports, ["2/tcp", "3000/tcp", "4000/udp", "8000/tcp", "8001/tcp", "8002/tcp"]);
    assert_eq!(created_by(&case("FROM scratch\nEXPOSE 80 443").good()), ["EXPOSE [443/tcp 80/tcp]"]);
}

#[test]
fn g19_keys_expand_and_labels_of_the_command_line_come_last() {
    let case = case("FROM scratch\nARG K=key\nLABEL $K=1 a=\"$GONE\"").with(|o| o.labels.extend([("key".into(), "2".into())]));
    let labels = case.good().config.config.labels;
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), [("a".to_owned(), String::new()), ("key".to_owned(), "2".to_owned())]);
}

#[test]
fn g20_path_has_a_default() {
    const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let scratch = case("FROM scratch").good().config.config;
    assert_eq!((scratch.env, scratch.working_dir.as_str()), (vec![PATH.to_owned()], "/"));
    let bare = case("FROM bare\nRUN x").image("bare", image("{}", 1)).good();
    assert_eq!(execs(&bare)[0].env, [PATH]);
    assert_eq!(execs(&case("FROM busybox\nRUN x").good())[0].env, ["PATH=/bin"]);
}

#[test]
fn g21_user_does_not_own_copies() {
    let lowered = case("FROM scratch\nUSER app\nWORKDIR /w\nCOPY a /a\nRUN [\"x\"]").good();
    let mut owners = Vec::new();
    for (_, vertex, _) in lowered.graph.iter() {
        let Op::File(file) = &vertex.op else { continue };
        owners.extend(file.actions.iter().map(|action| match &action.kind {
            FileActionKind::MakeDir(dir) => dir.owner.is_some(),
            FileActionKind::Copy(copy) => copy.owner.is_some(),
            FileActionKind::MakeFile(_) | FileActionKind::Symlink(_) | FileActionKind::Remove(_) => false,
        }));
    }
    assert_eq!(owners, [true, false]);
    assert_eq!(execs(&lowered)[0].user, "app");
}

#[test]
fn g23_home_is_not_set() {
    let lowered = case("FROM busybox\nRUN x").good();
    assert_eq!(execs(&lowered)[0].env, ["PATH=/bin"]);
    assert_eq!(execs(&lowered)[0].hostname, "buildkitsandbox");
}

#[test]
fn g24_history_is_in_buildkits_words() {
    let text = "FROM scratch\nARG X=y\nENV k=v\nLABEL l=m\nRUN cmd\nCOPY src dst\nADD --chown=1 a b/\nCMD [\"a\", \"b\"]\nENTRYPOINT c\n\
                WORKDIR /x\nWORKDIR /\nUSER u\nVOLUME /d\nEXPOSE 80\nHEALTHCHECK --interval=5m --timeout=3s CMD curl\nSHELL [\"s\"]\nSTOPSIGNAL 9\nMAINTAINER me";
    let lowered = case(text).good();
    let entries: Vec<(bool, &str)> =
        lowered.history.iter().map(|step| (step.entry.empty_layer, step.entry.created_by.as_deref().unwrap())).collect();
    assert_eq!(
        entries,
        [
            (true, "ARG X=y"),
            (true, "ENV k=v"),
            (true, "LABEL l=m"),
            (false, "RUN |1 X=y /bin/sh -c cmd # buildkit"),
            (false, "COPY src dst # buildkit"),
            (false, "ADD --chown=1 a b/ # buildkit"),
            (true, "CMD [\"a\" \"b\"]"),
            (true, "ENTRYPOINT [\"/bin/sh\" \"-c\" \"c\"]"),
            (false, "WORKDIR /x"),
            (true, "WORKDIR /"),
            (true, "USER u"),
            (true, "VOLUME [/d]"),
            (true, "EXPOSE [80/tcp]"),
            (true, "HEALTHCHECK {Test:[CMD-SHELL curl] Interval:5m0s Timeout:3s StartPeriod:0s StartInterval:0s Retries:0}"),
            (true, "SHELL [s]"),
            (true, "STOPSIGNAL 9"),
            (true, "MAINTAINER me"),
        ]
    );
    assert!(lowered.history.iter().all(|step| step.entry.comment.as_deref() == Some("buildkit.dockerfile.v0")));
}

#[test]
fn g25_entries_with_layers_are_those_with_edges() {
    let lowered = case("FROM busybox\nENV a=b\nRUN x\nFROM scratch\nWORKDIR /a\nCOPY b /").good();
    assert!(lowered.history.iter().all(|step| step.entry.empty_layer == step.layer.is_none()));
    let on_base = case("FROM busybox\nRUN x").good();
    assert_eq!(on_base.history.iter().map(|step| step.layer.is_some()).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn g26_an_epoch_dates_the_history() {
    let lowered = case("FROM busybox\nENV a=b").arg("SOURCE_DATE_EPOCH", "1700000000").good();
    let created: Vec<Option<&str>> = lowered.history.iter().map(|step| step.entry.created.as_deref()).collect();
    assert_eq!(created, [None, Some("2023-11-14T22:13:20Z")]);
    assert_eq!(lowered.epoch, Some(1_700_000_000));
}

#[test]
fn g27_the_platform_is_the_bases_unless_asked_for() {
    let mut arm = image("{}", 1);
    arm.platform = Some("linux/arm64".parse().unwrap());
    let platform = |case: Case| case.good().config.platform.unwrap().to_string();
    assert_eq!(platform(case("FROM arm").image("arm", arm.clone())), "linux/arm64");
    let given = case("FROM arm").image("arm", arm).with(|o| o.platform_given = true);
    assert_eq!(platform(given), "linux/amd64");
    assert_eq!(platform(case("FROM scratch")), "linux/amd64");
}

#[test]
fn g28_the_platform_is_in_every_op() {
    let text = "FROM --platform=linux/arm64 busybox AS a\nCOPY x /\nFROM busybox\nCOPY x /\nCOPY --from=a /x /y";
    let lowered = case(text).good();
    let images: Vec<String> = lowered
        .graph
        .iter()
        .filter(|(_, vertex, _)| matches!(vertex.op, Op::Source(SourceOp::Image(_))))
        .map(|(_, vertex, _)| vertex.platform.to_string())
        .collect();
    assert_eq!(images, ["linux/arm64", "linux/amd64"]);
}

#[test]
fn g29_heredocs_of_run_do_not_imply_set_e() {
    let lowered = case("FROM busybox\nRUN <<-EOF\n\tfalse\n\t true\n\tEOF").good();
    assert_eq!(execs(&lowered)[0].args, ["/bin/sh", "-c", "false\n true\n"]);
}

#[test]
fn g30_comments_go_inside_continuations_and_stay_in_heredocs() {
    let lowered = case("FROM busybox\nRUN a \\\n# gone\n && b\nRUN <<EOF\n# kept\nEOF").good();
    let args: Vec<&str> = execs(&lowered).iter().map(|exec| exec.args[2].as_str()).collect();
    assert_eq!(args, ["a  && b", "# kept\n"]);
}

#[test]
fn g31_a_link_is_a_layer_of_its_own_also_with_a_mode() {
    let check = |text: &str, linked: bool| {
        let lowered = case(&format!("FROM busybox\n{text}")).good();
        let merges = lowered.graph.iter().filter(|(_, vertex, _)| matches!(vertex.op, Op::Merge(_))).count();
        assert_eq!(merges, usize::from(linked), "{text}");
        for (_, vertex, _) in lowered.graph.iter() {
            if let Op::File(file) = &vertex.op {
                assert_eq!(file.actions[0].base == rbuild_graph::ActionInput::Scratch, linked, "{text}");
            }
        }
    };
    check("COPY --link a /", true);
    check("COPY --link --chmod=644 --chown=1:2 a b /", true);
    check("ADD --link a /", true);
    check("COPY --link=false a /", false);
    check("COPY --link --chown=app a /", false);
    check("COPY --link --chown=1:app a /", false);
    let lowered = case("FROM scratch\nCOPY --link a /").good();
    assert!(lowered.graph.iter().all(|(_, vertex, _)| !matches!(vertex.op, Op::Merge(_))));
}

#[test]
fn g35_parents_keep_the_pivot() {
    let lowered = case("FROM scratch\nCOPY --parents ./a/./b **/x /o/").good();
    let copies: Vec<rbuild_graph::Copy> = lowered
        .graph
        .iter()
        .filter_map(|(_, vertex, _)| if let Op::File(file) = &vertex.op { Some(file) } else { None })
        .filter_map(|file| if let FileActionKind::Copy(copy) = &file.actions[0].kind { Some(copy.clone()) } else { None })
        .collect();
    assert!(copies[0].parents);
    let sources: Vec<(&str, bool)> = copies[0].sources.iter().map(|source| (source.path.as_str(), source.wildcard)).collect();
    assert_eq!(sources, [("/a/./b", false), ("/**/x", true)]);
}

#[test]
fn g27_steps_of_other_platforms_need_no_processor() {
    let foreign = |text: &str| case(text).with(|options| options.target_platform = "darwin/ppc64le".parse().unwrap());
    let lowered =
        foreign("FROM --platform=$BUILDPLATFORM busybox AS build\nRUN true\nFROM scratch\nCOPY --from=build /x .").good();
    let platforms: Vec<String> = lowered.graph.iter().map(|(_, vertex, _)| vertex.platform.to_string()).collect();
    assert_eq!(platforms.iter().filter(|platform| *platform == "darwin/ppc64le").count(), 1, "{platforms:?}");
    assert!(foreign("FROM scratch\nRUN true").bad().contains("RUN for darwin/ppc64le"));
}

#[test]
fn g38_sources_stay_below_the_root() {
    let lowered = case("FROM scratch\nCOPY ../../x /a/../b").good();
    let copies: Vec<String> = lowered
        .graph
        .iter()
        .filter_map(|(_, vertex, _)| if let Op::File(file) = &vertex.op { Some(file) } else { None })
        .flat_map(|file| &file.actions)
        .filter_map(|action| if let FileActionKind::Copy(copy) = &action.kind { Some(copy) } else { None })
        .map(|copy| format!("{} {}", copy.sources[0].path, copy.target))
        .collect();
    assert_eq!(copies, ["/x /b"]);
}

#[test]
fn g51_downloads_are_private_and_named_after_the_url() {
    let lowered = case("FROM scratch\nADD http://h/ /\nADD http://h/a/b.tar?c /").good();
    let files: Vec<(String, u32)> = lowered
        .graph
        .iter()
        .filter_map(|(_, vertex, _)| if let Op::Source(SourceOp::Http(http)) = &vertex.op { Some(http) } else { None })
        .map(|http| (http.filename.clone(), http.mode))
        .collect();
    assert_eq!(files, [("__unnamed__".to_owned(), 0o600), ("b.tar".to_owned(), 0o600)]);
}

#[test]
fn g55_numbers_count_stages_from_zero() {
    assert!(case("FROM scratch\nFROM scratch\nCOPY --from=0 /a /").lower().is_ok());
    assert!(case("FROM scratch\nCOPY --from=1 /a /").bad().contains("invalid stage index 1"));
    assert!(case("FROM scratch\nCOPY --from=0 /a /").bad().contains("circular dependency"));
}

#[test]
fn g57_workdir_makes_a_layer_owned_by_the_user() {
    let lowered = case("FROM base\nUSER 9999\nWORKDIR sub").image("base", image(r#"{"WorkingDir":"/w"}"#, 1)).good();
    assert_eq!(lowered.config.config.working_dir, "/w/sub");
    assert_eq!(lowered.history.last().unwrap().layer, lowered.result);
    assert!(case("FROM scratch\nWORKDIR /").good().result.is_none());
}

#[test]
fn g58_an_empty_workdir_stays() {
    let lowered = case("FROM scratch\nWORKDIR /a\nWORKDIR $GONE").good();
    assert_eq!(lowered.config.config.working_dir, "/a");
}

#[test]
fn g59_proxies_are_not_in_the_environment() {
    let lowered = case("FROM busybox\nRUN x").arg("http_proxy", "p").good();
    assert_eq!(execs(&lowered)[0].env, ["PATH=/bin"]);
    assert_eq!(execs(&lowered)[0].proxy.variables, [("HTTP_PROXY".to_owned(), "p".to_owned())]);
    assert_eq!(created_by(&lowered)[1], "RUN /bin/sh -c x # buildkit");
}

#[test]
fn g60_secrets_are_in_no_configuration() {
    let lowered = case("FROM busybox\nRUN --mount=type=secret,id=x,env=X y").good();
    assert_eq!(env(&lowered), [""; 0]);
    assert_eq!(created_by(&lowered)[1], "RUN /bin/sh -c y # buildkit");
    assert_eq!(execs(&lowered)[0].secret_env[0].name, "X");
}

#[test]
fn g76_equal_steps_are_one_vertex() {
    let lowered =
        case("FROM busybox AS a\nRUN x\nFROM busybox AS b\nRUN x\nFROM scratch\nCOPY --from=a /1 /\nCOPY --from=b /2 /").good();
    assert_eq!(execs(&lowered).len(), 1);
}
