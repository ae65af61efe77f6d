//! The local image store: list, tag, remove, history, inspect, save, load, prune, du.

use rbuild_tests::{Rbuild, context};

fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn images_are_listed_tagged_and_removed() {
    let rbuild = Rbuild::new();
    rbuild.ok(&["tag", "busybox", "some/other:1"]);
    let mut names: Vec<String> = json_lines(&rbuild.ok(&["images", "--format", "json"]))
        .iter()
        .map(|image| format!("{}:{}", image["Repository"].as_str().expect("a string"), image["Tag"].as_str().expect("a string")))
        .collect();
    names.sort();
    assert_eq!(names, ["busybox:latest", "some/other:1"]);
    assert!(rbuild.ok(&["images"]).starts_with("REPOSITORY"));
    assert!(rbuild.ok(&["rmi", "some/other:1"]).contains("Untagged: some/other:1"));
    assert_eq!(rbuild.ok(&["image", "ls", "-q"]).lines().count(), 1);
    let missing = rbuild.run(&["rmi", "some/other:1"]);
    assert!(missing.code == 1 && missing.stderr.contains("some/other:1"), "{}", missing.stderr);
}

#[test]
fn history_and_inspect_show_what_was_built() {
    let rbuild = Rbuild::new();
    let context = context(&[("Dockerfile", "FROM busybox\nENV A=b\nCOPY f /f\nCMD [\"x\", \"y\"]\n"), ("f", "")]);
    rbuild.ok(&["build", "-t", "app", &context.path().to_string_lossy()]);
    let history = rbuild.ok(&["history", "app"]);
    for entry in ["ENV A=b", "COPY f /f # buildkit", r#"CMD ["x" "y"]"#] {
        assert!(history.contains(entry), "{history}");
    }
    let inspect: serde_json::Value = serde_json::from_str(&rbuild.ok(&["inspect", "app"])).expect("JSON");
    assert_eq!(inspect[0]["Config"]["Cmd"], serde_json::json!(["x", "y"]));
    assert_eq!(inspect[0]["RepoTags"], serde_json::json!(["app:latest"]));
    assert_eq!(inspect[0]["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
}

#[test]
fn saved_images_load_with_the_same_id_in_another_store() {
    let (from, to) = (Rbuild::new(), Rbuild::empty());
    let context = context(&[("Dockerfile", "FROM busybox\nCOPY f /dir/f\n"), ("f", "content")]);
    from.ok(&["build", "-t", "one", "-t", "two:2", &context.path().to_string_lossy()]);
    let archive = from.dir().join("saved.tar").to_string_lossy().into_owned();
    from.ok(&["save", "-o", &archive, "one", "two:2", "busybox"]);
    assert!(to.ok(&["load", "-i", &archive]).contains("two:2"));
    let ids = |rbuild: &Rbuild| {
        let mut lines: Vec<String> = json_lines(&rbuild.ok(&["images", "--format", "json"]))
            .iter()
            .map(|image| format!("{} {} {}", image["Repository"], image["Tag"], image["ID"]))
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(ids(&from), ids(&to));
    for compress in ["gzip", "zstd"] {
        let compressed = std::process::Command::new(compress).args(["-k", "-f", &archive]).status().expect("a compressor");
        assert!(compressed.success());
        let name = format!("{archive}.{}", if compress == "gzip" { "gz" } else { "zst" });
        let other = Rbuild::empty();
        other.ok(&["load", "-i", &name]);
        assert_eq!(ids(&from), ids(&other));
    }
    let again = to.dir().join("again.tar").to_string_lossy().into_owned();
    to.ok(&["save", "-o", &again, "one", "two:2", "busybox"]);
    assert_eq!(fs_err::read(&archive).expect("first").len(), fs_err::read(&again).expect("second").len());
}

#[test]
fn prune_reclaims_what_no_name_needs() {
    let rbuild = Rbuild::new();
    let context = context(&[("Dockerfile", "FROM scratch\nCOPY f /f\n"), ("f", &"x".repeat(2_000_000))]);
    rbuild.ok(&["build", "-t", "big", &context.path().to_string_lossy()]);
    let size = |rbuild: &Rbuild| {
        let du = std::process::Command::new("du").args(["-sb"]).arg(rbuild.state()).output().expect("du");
        String::from_utf8_lossy(&du.stdout).split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).expect("a size")
    };
    let before = size(&rbuild);
    rbuild.ok(&["prune", "-a"]);
    assert!(size(&rbuild) + 1_500_000 > before, "a named image stays");
    rbuild.ok(&["rmi", "big"]);
    rbuild.ok(&["prune", "-a"]);
    assert!(size(&rbuild) + 1_500_000 < before, "what has no name goes");
    assert!(rbuild.ok(&["images"]).contains("busybox"));
    assert!(!rbuild.ok(&["du"]).is_empty());
}
