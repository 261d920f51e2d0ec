//! DialogSum in all its forms, the lab's filter, split and queries, and messages for unusable files.

use crate::support;
use detox_lab::text::dialogue::{self, Corpus, Dialogue};
use detox_lab::text::prompt::{Query, prompt};
use detox_lab::text::tokenizer::Tokenizer;

fn dialogsum(shared: &std::path::Path, part: &str) -> Vec<Dialogue> {
    let path = shared.join("dialogsum").join(part);
    dialogue::parse(part, &std::fs::read(path).unwrap()).unwrap()
}

#[test]
#[ignore = "needs ../shared/data"]
fn the_labs_counts() {
    let shared = support::shared_data();
    let train = dialogsum(&shared, "train.jsonl");
    assert_eq!(train.len(), 12_460);
    assert_eq!(train[0].id, "train_0");
    assert_eq!(train[0].topic, "get a check-up");
    assert_eq!(train[0].references, [train[0].summary.clone()]);
    let kept = dialogue::keep_lab_lengths(train);
    assert_eq!(kept.len(), 10_022);
    let (first, last) = (kept[0].clone(), kept[10_021].clone());
    let (train, test) = dialogue::split(kept);
    assert_eq!((train.len(), test.len()), (8_017, 2_005));
    assert_eq!((&train[0], &test[2_004]), (&first, &last));
}

#[test]
#[ignore = "needs ../shared/data"]
fn the_test_rows_of_the_published_run() {
    let shared = support::shared_data();
    let (_, test) = dialogue::split(dialogue::keep_lab_lengths(dialogsum(&shared, "train.jsonl")));
    let text = std::fs::read_to_string(shared.join("reference/lab3_yanste_outputs.json")).unwrap();
    let published: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = published["compare_table_test_0_20"].as_array().unwrap();
    assert_eq!(rows.len(), 20);
    for row in rows {
        let index = row["test_index"].as_u64().unwrap() as usize;
        assert_eq!(test[index].id, row["fname"].as_str().unwrap());
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn dev_and_test_parts() {
    let shared = support::shared_data();
    assert_eq!(dialogsum(&shared, "dev.jsonl").len(), 500);
    let test = dialogsum(&shared, "test.jsonl");
    assert_eq!(test.len(), 500);
    assert!(test.iter().all(|row| row.references.len() == 3 && row.summary == row.references[0]));
    assert_eq!(test[0].topic, "communication method");

    let files: Vec<(String, Vec<u8>)> = ["dev.jsonl", "test.jsonl"]
        .map(|name| (format!("dialogsum/{name}"), std::fs::read(shared.join("dialogsum").join(name)).unwrap()))
        .into();
    let corpus = Corpus::from_files(files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))).unwrap();
    assert_eq!((corpus.train.len(), corpus.validation.len(), corpus.test.len()), (0, 500, 500));
}

#[test]
#[ignore = "needs ../shared/data"]
fn queries_are_the_labs() {
    let shared = support::shared_data();
    let json = std::fs::read(shared.join("flan-t5-tokenizer/tokenizer.json")).unwrap();
    let t5 = Tokenizer::from_json("tokenizer.json", &json).unwrap();
    let dialogue = "#Person1#: Hi , there .\n#Person2#: I 'm fine.";
    assert_eq!(
        prompt(dialogue),
        "\nSummarize the following conversation.\n\n#Person1#: Hi , there .\n#Person2#: I 'm fine.\n\nSummary:\n"
    );
    let query = Query::new(&t5, dialogue).unwrap();
    let expected = "Summarize the following conversation. #Person1#: Hi, there. #Person2#: I'm fine. Summary: </s>";
    assert_eq!(query.text, expected);
    assert_eq!(query.ids.last(), Some(&1));
    // The published evaluation tokenizes the query again: its ids end in </s> twice.
    assert!(t5.encode(&query.text).unwrap().ends_with(&[1, 1]));
}

#[test]
fn hub_csv_joins_the_three_annotators() {
    let csv = "id,dialogue,summary,topic\n\
        test_0_1,\"#Person1#: Say \"\"hi\"\".\n#Person2#: Hi.\",one,greeting\n\
        test_0_2,\"#Person1#: Say \"\"hi\"\".\n#Person2#: Hi.\",two,hello\n\
        test_0_3,\"#Person1#: Say \"\"hi\"\".\n#Person2#: Hi.\",three,hi\n\
        test_1_1,other,four,x\n";
    let rows = dialogue::parse("test.csv", csv.as_bytes()).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].id, "test_0");
    assert_eq!(rows[0].dialogue, "#Person1#: Say \"hi\".\n#Person2#: Hi.");
    assert_eq!((rows[0].summary.as_str(), rows[0].topic.as_str()), ("one", "greeting"));
    assert_eq!(rows[0].references, ["one", "two", "three"]);
    assert_eq!(rows[1].references, ["four"]);

    let train = "id,dialogue,summary,topic\ntrain_0,same,a,t\ntrain_1,same,b,t\n";
    assert_eq!(dialogue::parse("train.csv", train.as_bytes()).unwrap().len(), 2);
}

#[test]
fn the_filter_counts_code_points_at_both_limits() {
    let row = |n: usize| Dialogue {
        split: None,
        id: n.to_string(),
        dialogue: "é".repeat(n),
        summary: "s".into(),
        references: vec!["s".into()],
        topic: String::new(),
    };
    let kept = dialogue::keep_lab_lengths([200, 201, 1000, 1001].map(row).into());
    assert_eq!(kept.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["201", "1000"]);
    for (n, test) in [(0, 0), (1, 1), (5, 1), (6, 2), (10, 2), (11, 3)] {
        let (train, rest) = dialogue::split((0..n).map(row).collect());
        assert_eq!((train.len(), rest.len()), (n - test, test));
    }
}

#[test]
fn unusable_files_name_the_file_and_the_line() {
    let good = r##"{"fname": "a", "dialogue": "#Person1#: Hi", "summary": "s", "topic": "t"}"##;
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("train.jsonl", format!("{good}\n\n{{\"fname\": \"b\"").into(), "train.jsonl:3: not a row in JSON"),
        ("train.jsonl", b"{'fname': 'train_0', 'dialogue': 'x'}".into(), "Python dict"),
        (
            "train.jsonl",
            b"\n{\"dialogue\": \" \", \"summary\": \"s\"}".into(),
            "train.jsonl:2: this row has no `dialogue`",
        ),
        ("train.jsonl", br#"{"dialogue": "x"}"#.into(), "train.jsonl:1: this row has no `summary`"),
        ("train.jsonl", b"\n\n".into(), "no dialogue in it"),
        ("train.jsonl", b"ok\nPK\x03\x04\xff\xfe".into(), "train.jsonl:2: not UTF-8"),
        (
            "train.csv",
            b"id,text\n1,2\n".into(),
            "no column `dialogue`, `summary` in its header, which has `id`, `text`",
        ),
        ("train.csv", b"id,dialogue,summary\na,\"x\ny\",s\nb,x\n".into(), "train.csv:4: "),
        ("train.csv", b"id,dialogue,summary\na,,s\nb,\"x\ny\",\n".into(), "train.csv:2: this row has no `dialogue`"),
        (
            "train.jsonl",
            format!("{good}\n{{\"dialogue\": \"x\", \"summary\": \"s\", \"split\": \"later\"}}").into(),
            "train.jsonl:2: unknown split \"later\"",
        ),
    ];
    for (path, bytes, expected) in cases {
        let text = dialogue::parse(path, &bytes).unwrap_err().to_string();
        assert!(text.contains(expected) && text.contains("try: "), "{expected:?} not in {text:?}");
    }
    let twice = [("train.jsonl", good.as_bytes()), ("old/train.jsonl", good.as_bytes())];
    assert!(Corpus::from_files(twice).unwrap_err().to_string().contains("second file"));
    assert!(Corpus::from_files([("README.md", &b"x"[..])]).unwrap_err().to_string().contains("no DialogSum file"));
}

#[test]
fn the_same_dialogues_come_from_files_of_other_tools() {
    let talk = "Amanda: I baked.\nJerry: Sure!";
    let json = |split: &str| {
        let row = |id: &str| format!("{{\"id\": {id}, \"summary\": \"s\", \"dialogue\": {talk:?}{split}}}");
        [row("13818513"), row("\"7\"")]
    };
    let files = [
        ("samsum.json", format!("[{}]", json("").join(",\n"))),
        ("samsum.jsonl", json("").join("\r\n")),
        ("samsum.tsv", format!("id\tdialogue\tsummary\n13818513\t\"{talk}\"\ts\n7\t\"{talk}\"\ts\n")),
        ("samsum.csv", format!("ID; Dialogue ;Summary\r\n13818513;\"{talk}\";s\r\n7;\"{talk}\";s\r\n")),
    ];
    for (path, text) in files {
        let rows = dialogue::read(path, text.as_bytes()).unwrap();
        assert_eq!(rows.notice, None, "{path}");
        let ids: Vec<&str> = rows.rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["13818513", "7"], "{path}");
        assert!(rows.rows.iter().all(|row| row.dialogue == talk && row.summary == "s"), "{path}");
    }
    for (split, train, test) in [(", \"split\": \"validation\"", 0, 2), (", \"split\": \"Train\"", 2, 0)] {
        let rows = dialogue::parse("a.jsonl", json(split).join("\n").as_bytes()).unwrap();
        let (trained, tested) = dialogue::split(rows);
        assert_eq!((trained.len(), tested.len()), (train, test));
    }
    let parts = ["train", "dev", "test"].map(|part| json(&format!(", \"split\": {part:?}")).join("\n")).join("\n");
    let (trained, tested) = dialogue::split(dialogue::parse("a.jsonl", parts.as_bytes()).unwrap());
    assert_eq!((trained.len(), tested.len()), (2, 2), "validation rows are in neither split");
}

#[test]
fn empty_rows_are_left_out_with_a_notice() {
    let csv = "id,dialogue,summary\na,x,s\nb,,s\nc,\"y\nz\",\n,,\nd,x,s\n";
    let kept = dialogue::read("a.csv", csv.as_bytes()).unwrap();
    assert_eq!(kept.rows.len(), 2);
    let notice = kept.notice.unwrap();
    assert!(
        notice.starts_with("a.csv:3: a needed field is empty in 3 rows") && notice.contains("left out"),
        "{notice}"
    );
    let one = dialogue::read("a.csv", b"dialogue,summary\nx,s\n,s\n").unwrap().notice.unwrap();
    assert!(one.starts_with("a.csv:3: a needed field of this row"), "{one}");
}
