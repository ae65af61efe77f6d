//! Whole builds: real file systems, processes and archives.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use rbuild_builder::{BuildError, Context, ContextSource, ErrorClass, OutputKind, StepStatus};
use rbuild_exporter::{Destination, LoadSource, load, stored};
use rbuild_worker::WorkError;
use support::{Events, Lab, output, reference};
use tokio_util::sync::CancellationToken;

const STAGES: &str = r#"FROM busybox AS build
WORKDIR /src
COPY . .
RUN cat a.txt b.txt > joined && echo built

FROM busybox
COPY --from=build /src/joined /out/
ENV X=y
CMD ["/bin/sh"]
"#;

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("a.txt", "a\n");
    lab.write("b.txt", "b\n");
    lab
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_become_all_kinds_of_outputs() {
    let lab = lab();
    let mut request = lab.request(STAGES);
    let (directory, archive, tar) = (lab.path("out"), lab.path("image.tar"), lab.path("files.tar"));
    request.outputs = vec![
        output(OutputKind::Local(directory.clone())),
        output(OutputKind::Oci(Destination::File(archive.clone()))),
        output(OutputKind::Tar(Destination::File(tar.clone()))),
        output(OutputKind::Store),
    ];
    let (result, events) = lab.build(request).await;
    let image = result.unwrap().image.unwrap();
    assert_eq!(fs_err::read_to_string(directory.join("out/joined")).unwrap(), "a\nb\n");
    assert!(fs_err::metadata(tar).unwrap().len() > 1 << 20);
    assert_eq!(image.image_config.config.env, ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "X=y"]);
    assert_eq!(image.image_config.rootfs.diff_ids.len(), 2);
    let history: Vec<_> = image.image_config.history.iter().filter_map(|entry| entry.created_by.as_deref()).collect();
    assert_eq!(history, ["COPY /src/joined /out/ # buildkit", "ENV X=y", "CMD [\"/bin/sh\"]"]);
    let ran = events.steps(&StepStatus::Completed);
    assert!(ran.is_superset(&names(&["WORKDIR /src", "COPY . .", "RUN cat a.txt b.txt > joined && echo built"])), "{ran:?}");
    assert_eq!(events.warnings(), Vec::<String>::new());

    let other = Lab::new();
    let loaded = load(&other.snapshotter, LoadSource::Path(archive)).unwrap();
    assert_eq!(loaded[0].image.manifest, image.manifest, "the archive has the image of the store");
    assert_eq!(loaded[0].names, [reference("result")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_build_runs_nothing() {
    let lab = lab();
    let (first, _) = lab.build(lab.request(STAGES)).await;
    let (second, events) = lab.build(lab.request(STAGES)).await;
    assert_eq!(first.unwrap().image.unwrap().manifest, second.unwrap().image.unwrap().manifest);
    let cached = events.steps(&StepStatus::Cached);
    let steps = ["WORKDIR /src", "COPY . .", "RUN cat a.txt b.txt > joined && echo built", "COPY --from=build /src/joined /out/"];
    assert!(cached.is_superset(&names(&steps)), "{cached:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_makes_the_same_files_changes_nothing_after_it() {
    let lab = lab();
    let (first, _) = lab.build(lab.request(STAGES)).await;
    lab.write("unrelated.txt", "new\n");
    let (second, events) = lab.build(lab.request(STAGES)).await;
    assert_eq!(first.unwrap().image.unwrap().manifest, second.unwrap().image.unwrap().manifest);
    assert!(events.steps(&StepStatus::Completed).contains("RUN cat a.txt b.txt > joined && echo built"));
    assert!(events.steps(&StepStatus::Cached).contains("COPY --from=build /src/joined /out/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_built_is_a_base() {
    let lab = lab();
    lab.build(lab.request(STAGES)).await.0.unwrap();
    let mut request = lab.request("FROM result\nRUN cat /out/joined > /copy\n");
    request.tags = vec![reference("second")];
    request.outputs = vec![output(OutputKind::Local(lab.path("out"))), output(OutputKind::Store)];
    let image = lab.build(request).await.0.unwrap().image.unwrap();
    assert_eq!(fs_err::read_to_string(lab.path("out/copy")).unwrap(), "a\nb\n");
    assert_eq!((image.parts.layers.len(), image.image_config.rootfs.diff_ids.len()), (3, 3));
    let store = lab.snapshotter.store();
    let found = store.resolve(lab.snapshotter.session(), &reference("second")).unwrap().unwrap();
    assert_eq!(stored(&lab.snapshotter, &found.manifest).unwrap().config, image.config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_alone_and_scratch_are_images_too() {
    let lab = lab();
    let mut request = lab.request("FROM busybox\nLABEL a=b\n");
    request.tags.clear();
    let image = lab.build(request).await.0.unwrap().image.unwrap();
    assert_eq!(image.parts.layers.len(), 1);
    assert_eq!(image.image_config.config.labels.get("a").map(String::as_str), Some("b"));
    let rows = lab.snapshotter.store().images().unwrap();
    assert!(rows.iter().any(|row| row.manifest == image.manifest && row.reference.is_none()), "it is kept without a name");

    let image = lab.build(lab.request("FROM scratch\nLABEL a=b\n")).await.0.unwrap().image.unwrap();
    assert_eq!(image.parts.layers.len(), 0);
    let image = lab.build(lab.request("FROM scratch\nCOPY a.txt /\n")).await.0.unwrap().image.unwrap();
    assert_eq!(image.parts.layers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn named_contexts_are_directories_layouts_and_images() {
    let lab = lab();
    let layout = lab.path("layout");
    let mut request = lab.request(STAGES);
    request.outputs = vec![output(OutputKind::Oci(Destination::Directory(layout.clone())))];
    lab.build(request).await.0.unwrap();
    fs_err::create_dir(lab.path("more")).unwrap();
    fs_err::write(lab.path("more/kept"), "kept").unwrap();
    fs_err::write(lab.path("more/dropped"), "dropped").unwrap();
    fs_err::write(lab.path("more/.dockerignore"), "dropped\n").unwrap();

    let other = Lab::new();
    let mut request =
        other.request("FROM base\nCOPY --from=files . /files/\nCOPY --from=tools /bin/busybox /tool\nRUN cat /out/joined\n");
    request.named_contexts = [
        ("base".to_owned(), ContextSource::Layout { path: layout, tag: None, digest: None }),
        ("files".to_owned(), ContextSource::Directory(lab.path("more"))),
        ("tools".to_owned(), ContextSource::Image("docker.io/library/busybox:latest".into())),
    ]
    .into();
    request.context = Context::Empty;
    request.outputs = vec![output(OutputKind::Local(other.path("out"))), output(OutputKind::Store)];
    let (result, _) = other.build(request).await;
    let image = result.unwrap().image.unwrap();
    assert_eq!(image.parts.layers.len(), 5);
    assert!(
        other.path("out/files/kept").exists() && !other.path("out/files/dropped").exists() && other.path("out/tool").exists()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_a_base() {
    let lab = lab();
    let mut request = lab.request("FROM root\nRUN cat /etc/group > /copy\n");
    request.named_contexts = [("root".to_owned(), ContextSource::Directory(lab.path("rootfs")))].into();
    request.outputs = vec![output(OutputKind::Local(lab.path("out"))), output(OutputKind::Store)];
    let image = lab.build(request).await.0.unwrap().image.unwrap();
    assert_eq!(fs_err::read_to_string(lab.path("out/copy")).unwrap(), "root:x:0:\n");
    assert_eq!(image.parts.layers.len(), 2);
    assert_eq!(image.image_config.history.iter().filter(|entry| !entry.empty_layer).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_cannot_have_is_told() {
    let lab = lab();
    let mut request = lab.request("FROM busybox\n");
    request.pull = true;
    let (result, events) = lab.build(request).await;
    result.unwrap();
    assert_eq!(events.warnings(), ["--pull: pulling comes with the registry client, so stored images are used as they are"]);

    let mut request = lab.request("FROM busybox\nCOPY a.txt /\n");
    request.context = Context::Directory { path: lab.path("nowhere"), ignore: None };
    let error = lab.build(request).await.0.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Dockerfile);
    assert!(error.to_string().starts_with("context `context` could not be read at `/"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_names_a_base() {
    let lab = lab();
    let row = lab.snapshotter.store().images().unwrap().remove(0);
    let text = format!("FROM busybox:other@{}\nCOPY a.txt /\n", row.manifest);
    assert_eq!(lab.build(lab.request(&text)).await.0.unwrap().image.unwrap().parts.layers.len(), 2);
    let missing = rbuild_oci::Digest::of(b"nothing");
    let error = lab.build(lab.request(&format!("FROM busybox@{missing}\n"))).await.0.unwrap_err();
    assert!(matches!(error, BuildError::ImageNotFound { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_named_with_what_helps() {
    let lab = lab();
    let (result, events) = lab.build(lab.request("FROM busibox\n")).await;
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "image `busibox` is not in the local store, and pulling comes with the registry client");
    assert!(error.hint().unwrap().starts_with("did you mean `busybox:latest`? else bring it in with `rbuild load"));
    assert_eq!(error.class(), ErrorClass::Network);
    let seen = format!("{:?}", events.seen.lock().unwrap());
    assert!(seen.contains("[internal] load metadata for docker.io/library/busibox:latest"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_says_where_and_how() {
    let lab = lab();
    let (result, events) = lab.build(lab.request("FROM busybox\nENV A=b\nRUN exit 3\nRUN never\n")).await;
    let error = result.unwrap_err();
    assert_eq!((error.class(), error.to_string().as_str()), (ErrorClass::Run, "failed to solve: [2/3] RUN exit 3"));
    assert!(!events.steps(&StepStatus::Started).contains("RUN never"));
    let BuildError::Step { lines, source, .. } = error else { panic!("not a step") };
    assert_eq!(lines, Some((3, 3)));
    assert!(matches!(*source, WorkError::Process { code: Some(3), .. }), "{source:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_the_dockerfile_are_all_told() {
    let lab = lab();
    let (result, _) = lab.build(lab.request("FORM busybox\nRUN\n")).await;
    let BuildError::Dockerfile { diagnostics, .. } = result.unwrap_err() else { panic!("not the Dockerfile") };
    assert!(!diagnostics.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_build_arguments_are_warned_of() {
    let lab = lab();
    let mut request = lab.request("FROM busybox\nARG FOO\n");
    request.options.build_args = [("FO".to_owned(), "1".to_owned())].into();
    let (result, events) = lab.build(request).await;
    assert_eq!(result.unwrap().warnings.len(), 1);
    assert_eq!(events.warnings(), ["[Warning] One or more build-args [FO] were not consumed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn source_date_epoch_makes_builds_reproducible() {
    let build = async || {
        let lab = lab();
        let mut request = lab.request("FROM scratch\nCOPY a.txt /\nLABEL a=b\n");
        request.options.build_args = [("SOURCE_DATE_EPOCH".to_owned(), "1600000000".to_owned())].into();
        let mut store = output(OutputKind::Store);
        store.layer.times = rbuild_snapshotter::TimePolicy::Clamp(1_600_000_000);
        request.outputs = vec![store];
        lab.build(request).await.0.unwrap().image.unwrap()
    };
    let (first, second) = (build().await, build().await);
    assert_eq!(first.image_config.created.as_deref(), Some("2020-09-13T12:26:40Z"));
    assert_eq!(first.manifest, second.manifest);
}

/// Waits until the step is under way.
async fn started(events: &Events, step: &str) {
    while !events.steps(&StepStatus::Started).contains(step) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_the_step_that_runs() {
    let lab = Arc::new(lab());
    let (events, cancel) = (Arc::new(Events::default()), CancellationToken::new());
    let building = tokio::spawn({
        let (lab, events, cancel) = (lab.clone(), events.clone(), cancel.clone());
        async move { lab.build_into(lab.request("FROM busybox\nRUN sleep 1000\n"), events, cancel).await }
    });
    started(&events, "RUN sleep 1000").await;
    cancel.cancel();
    let error = building.await.unwrap().unwrap_err();
    assert!(matches!(error, BuildError::Cancelled), "{error:?}");
    assert_eq!(events.steps(&StepStatus::Cancelled), names(&["RUN sleep 1000"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_builds_share_a_step() {
    let lab = Arc::new(lab());
    let mut building = Vec::new();
    for at in 0..3 {
        let (lab, events) = (lab.clone(), Arc::new(Events::default()));
        building.push(tokio::spawn(async move {
            let mut request = lab.request("FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n");
            request.outputs = vec![output(OutputKind::Local(lab.path(&format!("out{at}"))))];
            let result = lab.build_into(request, events.clone(), CancellationToken::new()).await;
            result.map(|_| (fs_err::read_to_string(lab.path(&format!("out{at}/id"))).unwrap(), events))
        }));
    }
    let mut ids = BTreeSet::new();
    let mut ran = 0;
    for build in building {
        let (id, events) = build.await.unwrap().unwrap();
        ids.insert(id);
        ran += events.steps(&StepStatus::Completed).iter().filter(|step| step.starts_with("RUN")).count();
    }
    assert_eq!((ids.len(), ran), (1, 1));
}
