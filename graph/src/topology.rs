//! Views of the whole graph: topology for algorithms, what an edge needs, and a drawing.

use std::collections::HashSet;
use std::fmt::Write as _;

use petgraph::graph::{DiGraph, NodeIndex};

use crate::{Edge, Graph, GraphError, InputIndex, Op, OutputIndex, SourceOp, VertexDigest};

/// How one vertex reads another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Use {
    /// Which output is read.
    pub output: OutputIndex,
    /// As which input.
    pub input: InputIndex,
}

impl Graph {
    /// The topology: an arc from each input to its user. Node `n` is the `n`-th vertex of [`Graph::iter`].
    #[must_use]
    pub fn topology(&self) -> DiGraph<VertexDigest, Use> {
        let mut topology = DiGraph::with_capacity(self.len(), self.len());
        for (digest, vertex, _) in self.iter() {
            let user = topology.add_node(*digest);
            for (edge, input) in vertex.inputs.iter().zip(0..) {
                let position = self.vertices.get_index_of(&edge.vertex).expect("add refuses unknown inputs");
                topology.add_edge(NodeIndex::new(position), user, Use { output: edge.output, input: InputIndex(input) });
            }
        }
        topology
    }

    /// All vertices, inputs before users; among independent ones the first added first.
    #[must_use]
    pub fn topological_order(&self) -> Vec<VertexDigest> {
        self.vertices.keys().copied().collect()
    }

    /// The vertices that `edges` need, themselves included, inputs before users. Costs what it visits.
    ///
    /// # Errors
    /// When an edge's vertex or output is not in the graph.
    pub fn reachable(&self, edges: &[Edge]) -> Result<Vec<VertexDigest>, GraphError> {
        let mut seen = HashSet::new();
        let mut open = Vec::new();
        for edge in edges {
            self.check_edge(edge)?;
            open.push(edge.vertex);
        }
        while let Some(digest) = open.pop() {
            if !seen.insert(digest) {
                continue;
            }
            let vertex = self.vertex(&digest).expect("add refuses unknown inputs");
            open.extend(vertex.inputs.iter().map(|edge| edge.vertex));
        }
        let mut positions: Vec<usize> = seen.iter().filter_map(|digest| self.vertices.get_index_of(digest)).collect();
        positions.sort_unstable();
        Ok(positions.into_iter().filter_map(|at| self.vertices.get_index(at)).map(|(digest, _)| *digest).collect())
    }

    /// The graph in Graphviz' language, with names and lines.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph {\n  rankdir=BT\n  node [shape=box]\n");
        for (position, (_, vertex, meta)) in self.iter().enumerate() {
            let label = if meta.name.is_empty() { kind(&vertex.op) } else { &meta.name };
            line(&mut text, format_args!("  n{position} [label=\"{}\"]", escape(label)));
        }
        let topology = self.topology();
        for arc in topology.edge_indices() {
            let (from, to) = topology.edge_endpoints(arc).expect("the index comes from this graph");
            let Use { output, input } = topology[arc];
            line(&mut text, format_args!("  n{} -> n{} [label=\"{}→{}\"]", from.index(), to.index(), output.0, input.0));
        }
        text.push_str("}\n");
        text
    }

    pub(crate) fn check_edge(&self, edge: &Edge) -> Result<(), GraphError> {
        let vertex = self.vertex(&edge.vertex).ok_or(GraphError::UnknownInput(edge.vertex))?;
        if usize::try_from(edge.output.0).is_ok_and(|output| output < vertex.outputs()) {
            return Ok(());
        }
        Err(GraphError::OutOfRange { what: "output", index: edge.output.0, vertex: edge.vertex })
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string never fails");
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn kind(op: &Op) -> &'static str {
    match op {
        Op::Source(SourceOp::Image(_)) => "image",
        Op::Source(SourceOp::Local(_)) => "local",
        Op::Source(SourceOp::Http(_)) => "http",
        Op::Source(SourceOp::Git(_)) => "git",
        Op::Exec(_) => "exec",
        Op::File(_) => "file",
        Op::Merge(_) => "merge",
        Op::Diff(_) => "diff",
    }
}
