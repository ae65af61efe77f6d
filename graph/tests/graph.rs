//! Graphs: what is refused, what is merged, orders, views and selections.

mod support;

use rbuild_graph::{
    ActionInput, Archive, CopyFilter, CopyPath, Edge, Graph, GraphError, InputIndex, Op, OutputIndex, Selection, SourceOp,
    Vertex, VertexDigest, VertexMeta,
};
use rbuild_oci::Digest;
use support::{copy, copy_op, diff, exec, exec_op, file_kinds, file_op, image, local, merge, platform, source};

fn meta(name: &str) -> VertexMeta {
    VertexMeta { name: name.into(), ..VertexMeta::default() }
}

fn with_sources() -> (Graph, Vec<Edge>) {
    let mut graph = Graph::new();
    let mut add =
        |op, name| graph.add(Vertex { op, inputs: Vec::new(), platform: platform() }, meta(name)).expect("a source is fine");
    let edges = vec![Edge::first(add(source(image()), "base")), Edge::first(add(source(local()), "context"))];
    (graph, edges)
}

fn check_refused(op: Op, inputs: Vec<Edge>, expected: impl FnOnce(VertexDigest) -> GraphError) {
    let (mut graph, _) = with_sources();
    let vertex = Vertex { op, inputs, platform: platform() };
    let digest = vertex.digest();
    assert_eq!(graph.add(vertex, meta("bad")), Err(expected(digest)));
    assert_eq!(graph.len(), 2, "nothing was added");
}

#[test]
fn bad_vertices_are_refused() {
    let (_, two) = with_sources();
    let unknown = VertexDigest([9; 32]);
    let out_of_range = |what, index| move |vertex| GraphError::OutOfRange { what, index, vertex };
    check_refused(merge(), vec![two[0], Edge::first(unknown)], |_| GraphError::UnknownInput(unknown));
    check_refused(merge(), vec![two[0]], out_of_range("input", 1));
    check_refused(diff(), vec![two[0]], out_of_range("input", 1));
    check_refused(exec(), vec![two[0]], out_of_range("input", 1));
    check_refused(copy(), vec![two[0]], out_of_range("input", 1));
    check_refused(file_kinds(), vec![], out_of_range("input", 0));
    let second = Edge { vertex: two[0].vertex, output: OutputIndex(1) };
    check_refused(merge(), vec![second, two[1]], |_| GraphError::OutOfRange { what: "output", index: 1, vertex: two[0].vertex });
    let mut forward = file_kinds();
    file_op(&mut forward).actions[1].base = ActionInput::Action(1);
    check_refused(forward, two.clone(), out_of_range("action", 1));
    let mut gap = file_kinds();
    file_op(&mut gap).actions[3].output = Some(OutputIndex(1));
    check_refused(gap, two.clone(), out_of_range("output", 1));
    let mut twice = file_kinds();
    file_op(&mut twice).actions[0].output = Some(OutputIndex(0));
    check_refused(twice, two.clone(), out_of_range("output", 0));
    let malformed = |rule| move |vertex| GraphError::Malformed { rule, vertex };
    check_refused(source(image()), two.clone(), malformed("a source has no inputs"));
    let mut no_args = exec();
    exec_op(&mut no_args).args.clear();
    check_refused(no_args, two.clone(), malformed("a process has an argument vector"));
    let mut no_root = exec();
    exec_op(&mut no_root).mounts.remove(0);
    check_refused(no_root, two, malformed("the first mount, and only that, is the root"));
}

#[test]
fn equal_vertices_are_one() {
    let (mut graph, edges) = with_sources();
    let again = Vertex { op: source(image()), inputs: Vec::new(), platform: platform() };
    let other = VertexMeta { ignore_cache: true, ..meta("another name") };
    assert_eq!(graph.add(again, other), Ok(edges[0].vertex));
    assert_eq!(graph.len(), 2);
    assert_eq!(graph.meta(&edges[0].vertex), Some(&VertexMeta { ignore_cache: true, ..meta("base") }));
}

#[test]
fn reachable_leaves_out_what_nobody_needs() {
    let (mut graph, edges) = with_sources();
    let mut add = |op, inputs: &[Edge], name| {
        graph
            .add(Vertex { op, inputs: inputs.to_vec(), platform: platform() }, meta(name))
            .map(Edge::first)
            .expect("the vertex is fine")
    };
    let copied = add(copy(), &edges, "copy");
    let aside = add(merge(), &[edges[0], copied], "aside");
    let ran = add(exec(), &[copied, edges[1]], "run");
    let names = |graph: &Graph, edge| -> Vec<String> {
        let order = graph.reachable(&[edge]).unwrap();
        order.iter().map(|digest| graph.meta(digest).unwrap().name.clone()).collect()
    };
    assert_eq!(names(&graph, ran), ["base", "context", "copy", "run"]);
    assert_eq!(names(&graph, aside), ["base", "context", "copy", "aside"]);
    assert_eq!(names(&graph, edges[1]), ["context"]);
    assert_eq!(graph.topological_order().len(), 5);
    let unknown = Edge::first(VertexDigest([0; 32]));
    assert_eq!(graph.reachable(&[unknown]), Err(GraphError::UnknownInput(unknown.vertex)));
}

#[test]
fn topology_and_drawing() {
    let (mut graph, edges) = with_sources();
    graph.add(Vertex { op: copy(), inputs: edges, platform: platform() }, meta("[2/2] COPY \"a\" /x")).unwrap();
    let topology = graph.topology();
    assert_eq!((topology.node_count(), topology.edge_count()), (3, 2));
    let order = petgraph::algo::toposort(&topology, None).unwrap();
    assert_eq!(topology[*order.last().unwrap()], *graph.topological_order().last().unwrap());
    assert_eq!(
        graph.dot(),
        "digraph {\n  rankdir=BT\n  node [shape=box]\n  n0 [label=\"base\"]\n  n1 [label=\"context\"]\n  \
         n2 [label=\"[2/2] COPY \\\"a\\\" /x\"]\n  n0 -> n2 [label=\"0→0\"]\n  n1 -> n2 [label=\"0→1\"]\n}\n"
    );
}

fn path(path: &str, follow: bool) -> CopyPath {
    CopyPath { path: path.into(), wildcard: false, follow, parents: false }
}

fn check_selection(op: Op, expected: [(Selection, bool); 2]) {
    let vertex = support::vertex(op);
    let found = [0, 1].map(|input| (vertex.selection(input), vertex.matches_by_content(input)));
    assert_eq!(found, expected, "{vertex:?}");
}

#[test]
fn selections() {
    let paths = |paths: Vec<CopyPath>, exclude: &[&str]| {
        Selection::Paths(vec![CopyFilter { paths, exclude: exclude.iter().map(|&x| x.to_owned()).collect() }])
    };
    let whole = || (Selection::Whole, false);
    check_selection(copy(), [whole(), (paths(vec![path("/dir/file", true)], &["*.o"]), true)]);
    let mut add = copy();
    copy_op(&mut add).archive = Archive::Detect;
    check_selection(add, [whole(), (paths(vec![path("/dir/file", true), path("/dir/file", false)], &["*.o"]), true)]);
    check_selection(exec(), [whole(), (paths(vec![path("/dir", true)], &[]), true)]);
    let mut whole_mount = exec();
    exec_op(&mut whole_mount).mounts[1].selector = None;
    check_selection(whole_mount, [whole(), (Selection::Whole, true)]);
    let mut written = exec();
    let mount = &mut exec_op(&mut written).mounts[1];
    (mount.readonly, mount.output) = (false, Some(OutputIndex(1)));
    check_selection(written, [whole(), (paths(vec![path("/dir", true)], &[]), false)]);
    let mut from_base = copy();
    copy_op(&mut from_base).from = ActionInput::Input(InputIndex(0));
    check_selection(from_base, [whole(), (Selection::Paths(Vec::new()), false)]);
    check_selection(merge(), [whole(), whole()]);
    check_selection(diff(), [whole(), whole()]);
}

#[test]
fn selection_digests_tell_selections_apart() {
    assert_eq!(Selection::Whole.digest(), None);
    let digest = |paths: &[&str], exclude: &[&str]| {
        let filter = CopyFilter {
            paths: paths.iter().map(|&name| path(name, true)).collect(),
            exclude: exclude.iter().map(|&x| x.to_owned()).collect(),
        };
        Selection::Paths(vec![filter]).digest().unwrap()
    };
    let golden = "b4fb0b351176e6d40787c57cd11218004999b30278f087caabaa0148a1f91613";
    assert_eq!(digest(&["/a", "/b"], &["c"]).to_hex(), golden);
    assert_ne!(digest(&["/a", "/b"], &[]), digest(&["/b", "/a"], &[]), "later sources win");
    assert_ne!(digest(&["/a"], &["/b"]), digest(&["/a", "/b"], &[]));
}

#[test]
fn image_sources_are_told_apart_by_digest() {
    let other = SourceOp::Image(rbuild_graph::ImageSource { manifest: Digest::of(b"other") });
    assert_ne!(support::vertex(source(image())).digest(), support::vertex(source(other)).digest());
}
