//! Mistakes that only lowering can find, as people see them.

use super::{Case, case, image};

fn all(cases: Vec<Case>) -> String {
    let shown: Vec<String> = cases.into_iter().map(|case| format!("{}\n", case.bad())).collect();
    shown.join("\n")
}

#[test]
fn wrong_stages() {
    snapshot!(all(vec![
        case("RUN x\nFROM busybox\n"),
        case("ARG x\n"),
        case("FROM scratch AS build\nFROM scratch\n").with(|options| options.target = Some("bulid".into())),
        case("FROM scratch\nFROM scratch\n").with(|options| options.target = Some("1".into())),
        case("FROM busybox AS a\nCOPY --from=a /x /x\n"),
        case("FROM busybox AS a\nCOPY --from=1 /x /x\nFROM busybox AS b\nCOPY --from=a /x /x\n"),
        case("FROM busybox\nCOPY --from=5 /x /x\n"),
        case("FROM busybox AS a\nCOPY --from=later /x /x\nFROM busybox AS later\nFROM a\n"),
        case("FROM busybox AS a\nRUN --mount=from=later,target=/x y\nFROM busybox AS later\nFROM a\n"),
        case("FROM scratch\nCOPY --from=$X /x /x\n"),
        case("FROM Bad:image:name\nFROM $NONE\nFROM x$\n"),
        case("ARG VERSION\nFROM $VERSON\n"),
        case("FROM scratch\nARG LATE\nFROM $LATE\n"),
        case("FROM --platform=nonsense/a/b/c scratch\nFROM --platform=$X scratch\n"),
    ]));
}

#[test]
fn wrong_values() {
    snapshot!(all(vec![
        case("FROM scratch\nENV a=\"${missing:?must be set}\" b=${x:#y}\n"),
        case("ARG A=${B:?b is missing}\nFROM scratch\n"),
        case("FROM scratch\nCOPY --chmod=64a foo /\nCOPY --chmod=xyz foo /\nEXPOSE 99999 80/http\nSTOPSIGNAL SIGTREM\n"),
        case("FROM scratch\nCOPY https://x/y /\nCOPY git@h:x /\n"),
        case("FROM scratch\nADD --checksum=sha256:abc https://x/y /\nADD --checksum=x a /\n"),
        case(
            "FROM busybox\nRUN --mount=typ=tmpfs a\nRUN --mount=type=tmp b\nRUN --mount=target=/ c\nRUN --mount=type=cache,target=${gone:?x} d\n"
        ),
        case("FROM scratch\nVOLUME $gone\n"),
        case("# check=nothing\nFROM scratch\n"),
        case("FROM scratch\n").arg("SOURCE_DATE_EPOCH", "soon"),
        case("FROM scratch\n").arg("BUILDKIT_SYNTAX", "me/mine"),
    ]));
}

#[test]
fn refusals() {
    snapshot!(all(vec![
        case("FROM busybox\nRUN --network=host true\n"),
        case("FROM busybox\nRUN true\n").with(|options| options.network = Some(rbuild_graph::NetworkMode::Host)),
        case("FROM busybox\nRUN --security=insecure true\n"),
        case("FROM busybox\nRUN --security=insecure true\n").with(|options| options.allow_insecure = true),
        case("FROM busybox\nRUN --device=gpu --mount=type=ssh true\n"),
        case("FROM busybox\nADD --keep-git-dir a /\nADD https://x/y.git /\n"),
        case("FROM --platform=linux/s390x busybox AS s390x\nRUN true\n"),
    ]));
}

#[test]
fn mistakes_in_what_is_not_built_are_found_too() {
    let error = case("FROM scratch AS unused\nCOPY --from=$X a b\nFROM scratch\n").bad();
    assert!(error.contains("variable expansion is not supported for --from"), "{error}");
}

#[test]
fn a_wrong_stage_does_not_hide_the_others() {
    let error = case("FROM scratch AS a\nENV x=${y:?one}\nFROM scratch\nCOPY --from=a /b /\nENV x=${y:?two}\n").bad();
    assert!(error.contains("y: one") && error.contains("y: two"), "{error}");
}

#[test]
fn later_stages_and_near_names_are_warned_of() {
    let warnings = |case: Case| {
        case.good()
            .warnings
            .into_iter()
            .map(|warning| format!("{} ({})", warning.message, warning.hint.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let later = case("FROM build\nFROM scratch AS build\nFROM scratch\n");
    assert_eq!(
        warnings(later),
        ["`build` is taken for an image: the stage of that name comes later (move that stage up to build from it)"]
    );
    let near = case("FROM scratch AS build\nFROM scratch\nCOPY --from=biuld /x /\n").image("biuld", image("{}", 1));
    assert_eq!(warnings(near), ["no stage is named `biuld`: it is taken for an image (did you mean build?)"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]
    #[test]
    fn any_file_is_survived(lines in proptest::collection::vec(
        ("(RUN|COPY|ADD|ENV|ARG|LABEL|CMD|USER|EXPOSE|VOLUME|WORKDIR|ONBUILD RUN|STOPSIGNAL|FROM scratch AS a|COPY --from=a|RUN --mount=from=a,target=|COPY --chmod=)", r#"[ a-c0-9$:=/*\[\]"'\\\-,{}.]{0,20}"#), 0..10)) {
        let text: String = lines.into_iter().map(|(name, rest)| format!("{name} {rest}\n")).collect();
        let source = crate::Source { name: "Dockerfile".into(), text: format!("FROM scratch\n{text}") };
        let (file, _) = crate::parse(source.clone());
        if let Err(diagnostics) = crate::lower(&file, &case("").options, &crate::Resolved::default()) {
            assert!(!crate::render(&source, &diagnostics, false).is_empty());
        }
    }
}
