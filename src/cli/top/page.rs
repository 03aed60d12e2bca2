//! Metrics in the text format of Prometheus, as far as a server of ours writes it: lines of name, labels and value.

use std::collections::BTreeMap;

/// All samples of one page.
#[derive(Default, Debug)]
pub(super) struct Page {
    samples: Vec<Sample>,
}

/// One value.
#[derive(PartialEq, Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Page {
    /// What cannot be understood is left out: a newer server may say more.
    pub(super) fn parse(text: &str) -> Page {
        Page { samples: text.lines().filter_map(sample).collect() }
    }

    /// Every sample of this name.
    pub(super) fn each<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of the samples of this name.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.each(name).map(|sample| sample.value).sum()
    }

    /// The sum of the samples of this name with this label.
    pub(super) fn sum_of(&self, name: &str, label: &str, value: &str) -> f64 {
        self.each(name).filter(|sample| sample.label(label) == value).map(|sample| sample.value).sum()
    }
}

impl Sample {
    /// The value of a label; empty if it has none.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (metric, value) = line.rsplit_once(' ')?;
    let (name, labels) = match metric.split_once('{') {
        None => (metric, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}')?),
    };
    // Values of our labels hold neither quotes nor commas.
    let label = |text: &str| {
        let (label, quoted) = text.split_once('=')?;
        Some((label.to_owned(), quoted.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    };
    let labels = labels.split(',').filter(|text| !text.is_empty()).map(label).collect::<Option<_>>()?;
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_others_left_out() {
        let text = "# HELP a b\n# TYPE a counter\na 1\nb{x=\"1\",y=\"z z\"} 2.5\nb{x=\"2\",y=\"\"} 1e3\nnonsense\nc{x=1} 2\nd{ 3\n\
                    e{x=\"1\"} many\n";
        let page = Page::parse(text);
        assert_eq!(page.samples.len(), 3);
        assert_eq!((page.sum("a"), page.sum("b"), page.sum("missing")), (1.0, 1002.5, 0.0));
        assert_eq!(page.sum_of("b", "x", "2"), 1000.0);
        assert_eq!(page.each("b").next().unwrap().label("y"), "z z");
        assert_eq!(page.each("a").next().unwrap().label("y"), "");
    }
}
