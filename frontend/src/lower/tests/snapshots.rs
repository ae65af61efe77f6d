//! Small Dockerfiles and all that becomes of them.

use rbuild_graph::{ExtraHost, NetworkMode, Ulimit};

use super::{Case, case, dump, image, layout};
use crate::options::{ImageNeed, ImageSpec, NamedContext, NoCache};

fn all(cases: Vec<(&str, Case)>) -> String {
    let mut out = String::new();
    for (name, case) in cases {
        let result = case.lower().map_or_else(|error| error + "\n", |lowered| dump::lowered(&lowered));
        out.push_str(&format!("=== {name}\n{}\n---\n{result}\n", case.text.trim_end()));
    }
    out
}

#[test]
fn bases() {
    snapshot!(all(vec![
        ("scratch", case("FROM scratch")),
        ("an image", case("FROM busybox")),
        ("a tag and a platform", case("FROM --platform=$BUILDPLATFORM busybox:1 AS b").image("busybox:1", image("{}", 1))),
        ("an image without layers is scratch", case("FROM empty\nCOPY a /").image("empty", image(r#"{"Labels":{"a":"b"}}"#, 0))),
        ("two platforms", case("FROM --platform=linux/arm64 busybox AS arm\nFROM scratch\nCOPY --from=arm /a /")),
        (
            "a platform asked for",
            case("FROM scratch\nCOPY a /").with(|options| {
                options.target_platform = "linux/arm/v7".parse().unwrap();
                options.platform_given = true;
            })
        ),
        (
            "variables",
            case("ARG NAME=busy TAG\nARG FULL=${NAME}box\nFROM ${FULL}${TAG:+:$TAG}")
                .arg("TAG", "9")
                .image("busybox:9", image("{}", 1))
        ),
    ]));
}

#[test]
fn stages() {
    snapshot!(all(vec![
        ("a chain", case("FROM busybox AS a\nENV x=1\nRUN a\nFROM a AS b\nRUN b\nFROM B\nRUN c\n")),
        (
            "only what is reachable",
            case("FROM missing AS unused\nRUN x\nFROM scratch AS used\nCOPY a /\nFROM scratch\nCOPY --from=used /a /b\n")
        ),
        (
            "by number and by name",
            case("FROM scratch AS One\nCOPY a /\nFROM scratch\nCOPY --from=0 /a /b\nCOPY --from=ONE /a /c\n")
        ),
        (
            "a target",
            case("FROM scratch AS one\nCOPY a /\nFROM scratch AS two\nCOPY b /\n")
                .with(|options| options.target = Some("ONE".into()))
        ),
        ("the last of equal names", case("FROM scratch AS a\nCOPY one /\nFROM scratch AS a\nCOPY two /\nFROM a\n")),
        (
            "an image by the stage's name before it is defined",
            case("FROM busybox AS b\nFROM scratch AS busybox\nCOPY --from=b /x /\n")
        ),
        ("copy from an image", case("FROM scratch\nCOPY --from=busybox /bin/sh /sh\n")),
        ("copy from scratch", case("FROM scratch\nCOPY --from=scratch / /\n")),
        (
            "no cache for a stage",
            case("FROM busybox AS a\nRUN a\nWORKDIR /x\nFROM a AS b\nRUN b\nCOPY c /\n").with(|options| {
                options.no_cache = NoCache::Stages(vec!["b".into()]);
            })
        ),
        ("no cache at all", case("FROM busybox\nRUN a\n").with(|options| options.no_cache = NoCache::All)),
    ]));
}

#[test]
fn contexts() {
    let scratch = ImageNeed { reference: ImageSpec::Reference("scratch".into()), platform: "linux/amd64".parse().unwrap() };
    snapshot!(all(vec![
        ("a layout as a base", case("FROM busybox\nRUN x").context("docker.io/library/busybox:latest", layout("busybox"))),
        ("a directory as a base", case("FROM files\nCOPY a /").context("files", NamedContext::Local)),
        ("a directory to copy from", case("FROM scratch\nCOPY --from=files a /").context("files", NamedContext::Local)),
        ("in place of a stage", case("FROM missing AS base\nRUN x\nFROM base\nCOPY a /").context("base", layout("busybox"))),
        ("scratch in place of an image", case("FROM busybox\nCOPY a /").context("busybox", NamedContext::Image(scratch))),
        ("for one platform", case("FROM base").context("base::linux/amd64", layout("busybox")).context("base", layout("other"))),
    ]));
}

#[test]
fn variables() {
    snapshot!(all(vec![
        ("one ENV sees the environment before it", case("FROM scratch\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc")),
        ("forms", case("FROM scratch\nENV a=\"x y\" b='$a' c=\\$a d=a\\ b\nENV old the  \"rest\"\nENV $d=key")),
        ("ARG and ENV", case("FROM busybox\nARG a=1\nENV b=$a\nARG c\nARG d=${b}x\nRUN x").arg("c", "given")),
        ("global values", case("ARG V=global\nFROM busybox\nARG V TARGETARCH\nRUN x")),
        ("inherited", case("FROM busybox AS a\nARG V=own\nFROM a\nRUN x")),
        ("predefined", case("FROM busybox\nARG TARGETPLATFORM BUILDOS TARGETSTAGE TARGETVARIANT\nRUN x")),
        ("unset", case("FROM busybox\nARG X\nRUN x\nENV y=$X z=$GONE")),
        ("unused and misspelt", case("ARG VERSION=1\nFROM scratch\nENV a=b").arg("VERSON", "2")),
        ("proxies", case("FROM busybox\nRUN x").arg("https_proxy", "a").arg("HTTP_PROXY", "b")),
        ("a declared proxy", case("FROM busybox\nARG HTTP_PROXY\nRUN x").arg("HTTP_PROXY", "b")),
    ]));
}

#[test]
fn runs() {
    snapshot!(all(vec![
        ("forms", case("FROM busybox\nRUN echo $HOME \"x\"\nRUN [\"echo\", \"$HOME\"]\nSHELL [\"/bin/bash\", \"-ec\"]\nRUN a && \\\n  b")),
        ("surroundings", case("FROM busybox\nUSER app:staff\nWORKDIR /w\nRUN --network=none x").arg("BUILDKIT_SANDBOX_HOSTNAME", "box").with(|options| {
            options.extra_hosts = vec![ExtraHost { name: "db".into(), address: "10.0.0.1".parse().unwrap() }];
            options.ulimits = vec![Ulimit { name: "nofile".into(), soft: 1, hard: 2 }];
            options.shm_size = Some(1024);
        })),
        ("the host's network", case("FROM busybox\nRUN --network=default x\nRUN --network=host y").with(|options| {
            options.network = Some(NetworkMode::None);
            options.allow_host_network = true;
        })),
        ("a heredoc", case("FROM busybox\nRUN <<EOF\necho $x\nEOF\nRUN <<-\"EOF\"\n\techo\n\tEOF")),
        ("a script", case("FROM busybox\nRUN <<EOF\n#!/bin/awk -f\nBEGIN {}\nEOF")),
        ("heredocs among words", case("FROM busybox\nRUN cat <<A >x && cat <<-B >y\n1\nA\n\t2\n\tB")),
        ("mounts", case("FROM busybox AS a\nFROM busybox\nWORKDIR /w\nARG D=/d\nRUN --mount=target=/ctx,rw --mount=from=a,src=/bin,dst=$D --mount=type=tmpfs,target=t,size=1m --mount=type=cache,target=/c/,id=x,sharing=locked,mode=0700 --mount=type=cache,target=rel y").arg("BUILDKIT_CACHE_MOUNT_NS", "ns")),
        ("secrets", case("FROM busybox\nRUN --mount=type=secret,id=a --mount=type=secret,id=b,env=B,required --mount=type=secret,id=c,env=C,target=/c,mode=0440 x")),
        ("on nothing", case("FROM scratch\nRUN [\"/x\"]")),
    ]));
}

#[test]
fn copies() {
    snapshot!(all(vec![
        ("sources and targets", case("FROM busybox\nWORKDIR /w\nCOPY a b* ../c /d/\nCOPY [\"a b\", \".\"]\nCOPY x y\n")),
        (
            "owners and modes",
            case(
                "FROM busybox\nARG U=app\nCOPY --chown=$U:5 --chmod=0755 a /a\nCOPY --chmod=u=rwX,go=rX b /b\nCOPY --chown=7 c /c"
            )
        ),
        ("exclude", case("FROM busybox\nCOPY --exclude=*.md --exclude=!x.md . /a")),
        ("heredocs", case("FROM busybox\nENV x=1\nCOPY <<A <<\"B\" c /d/\na $x 'q' \"$x\" \\$x\nA\nb $x\nB")),
        ("a link with a mode is no link", case("FROM busybox\nCOPY --link --chmod=644 a /a\nCOPY --link=false b /b")),
        ("add", case("FROM busybox\nADD a.tar /x\nADD --unpack=false b.tar /y/")),
        (
            "add a URL",
            case(
                "FROM busybox\nADD --chown=1:2 http://user:pw@h/x/y%20z.tar?q a /d/\nADD --unpack --checksum=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa https://h/ /e"
            )
        ),
        (
            "an epoch",
            case("FROM busybox\nWORKDIR /w\nCOPY a <<B .\nx\nB\nRUN x").with(|options| options.epoch = Some(1_700_000_000))
        ),
        ("an epoch of the file", case("ARG SOURCE_DATE_EPOCH=1\nFROM scratch\nENV a=b")),
    ]));
}

#[test]
fn metadata() {
    snapshot!(all(vec![
        ("commands", case("FROM busybox\nCMD a \"b\"\nENTRYPOINT [\"c\", \"d e\"]")),
        ("entry points reset the base's command", case("FROM busybox\nENTRYPOINT c")),
        ("empty commands", case("FROM busybox\nCMD []\nENTRYPOINT []")),
        ("ports", case("FROM scratch\nARG P=\"1 2/udp\"\nEXPOSE 8000-8002 443/TCP $P")),
        ("volumes, user, signal, author", case("FROM scratch\nVOLUME /a /b\nVOLUME [\"/c d\"]\nUSER 1:2\nSTOPSIGNAL SIGTERM\nMAINTAINER me")),
        ("labels", case("FROM scratch\nARG V=1\nLABEL a=$V \"b c\"='$d' e=\"\\\"f\"\nLABEL g h  i").with(|options| {
            options.labels.extend([("a".to_owned(), "last".to_owned()), ("z".to_owned(), "y".to_owned())]);
        })),
        ("health", case("FROM scratch\nHEALTHCHECK --interval=90s --retries=2 CMD curl x\nHEALTHCHECK NONE\nHEALTHCHECK CMD [\"a\", \"b\"]")),
        ("shell", case("FROM scratch\nSHELL [\"a\", \"-b\"]\nCMD c\nHEALTHCHECK CMD d")),
        ("directories", case("FROM busybox\nWORKDIR a\nWORKDIR /b\nWORKDIR c/../d\nUSER app\nWORKDIR $GONE\nWORKDIR /")),
        ("inherited", case("FROM base\nENV A=2 C=3").image("base", image(
            r#"{"User":"u","ExposedPorts":{"1/tcp":{}},"Env":["A=1","B=2"],"Entrypoint":["e"],"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"l":"m"},"StopSignal":"9","Shell":["s"],"Healthcheck":{"Test":["NONE"]},"Unknown":1}"#,
            2,
        ))),
    ]));
}

#[test]
fn triggers() {
    let base = || image(r#"{"Env":["PATH=/bin"],"OnBuild":["COPY --from=tools /t /t","RUN <<EOF\nx $y\nEOF"]}"#, 1);
    snapshot!(all(vec![
        ("of an image", case("FROM busybox AS tools\nRUN make\nFROM base\nRUN own").image("base", base())),
        ("of a stage", case("FROM scratch AS a\nONBUILD COPY x /\nONBUILD ENV y=z\nFROM a AS b\nCOPY own /\nFROM b")),
        ("kept for others", case("FROM scratch\nONBUILD RUN make \\\n  all")),
        ("wrong", case("FROM base").image("base", image(r#"{"OnBuild":["RUNN x"]}"#, 1))),
    ]));
}
