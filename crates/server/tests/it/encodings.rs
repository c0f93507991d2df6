//! Values as front ends and relays really send them.

use serde_json::json;

use crate::support::{BASE_INFO, Connection, FREE_TEXT, Server, get, post, read};

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn a_category_is_understood_by_label_code_and_alias_however_it_is_encoded() {
    let server = Server::start().await;
    let cases = [
        (encode("제로웨이스트"), "ZERO_WASTE"),
        (encode("제로 웨이스트"), "ZERO_WASTE"),
        (encode(&encode("제로웨이스트")), "ZERO_WASTE"),
        // The bytes as they are, as a shell and curl send them.
        ("제로웨이스트".into(), "ZERO_WASTE"),
        ("zero_waste".into(), "ZERO_WASTE"),
        ("UPCYCLE".into(), "UPCYCLING"),
        ("%20upcycling+".into(), "UPCYCLING"),
        ("에너지+절약".into(), "ENERGY_SAVING"),
        ("에너지%20절약".into(), "ENERGY_SAVING"),
        ("에너지절약".into(), "ENERGY_SAVING"),
        // Jamo instead of syllables, as macOS writes file names.
        (encode("\u{1107}\u{1175}\u{1100}\u{1165}\u{11ab}"), "VEGAN"),
        // Field report 25: what shows nothing, and letters of an input method's wide mode.
        (encode("비건\u{200b}"), "VEGAN"),
        (encode("\u{feff}비\u{ad}건"), "VEGAN"),
        (encode("ＶＥＧＡＮ"), "VEGAN"),
        (encode("ｚｅｒｏ＿Ｗaste"), "ZERO_WASTE"),
        (encode("에너지\u{3000}절약"), "ENERGY_SAVING"),
        ("VEGAN&category=MEDIA".into(), "MEDIA"),
        ("MEDIA&unknown=1&utm=%FF".into(), "MEDIA"),
    ];
    for (category, code) in cases {
        let target = format!("{BASE_INFO}?location=city&workType=office&category={category}");
        let response = Connection::ask(server.address, &get(&target, &[])).await;
        assert_eq!(response.status(), 200, "{category}: {}", response.text());
        let close = read(&response.body()).pop().unwrap();
        assert_eq!(close.data["data"]["challenges"][2]["category"], json!(code), "{category}");
    }
}

#[tokio::test]
async fn any_place_and_job_of_at_most_50_characters_will_do() {
    let server = Server::start().await;
    let fifty = "가".repeat(50);
    for (location, work_type) in [
        ("도시", "사무직"),
        ("beach", "REMOTE"),
        ("남극 기지", "우주 비행사"),
        (&*fifty, &*fifty),
        ("🏝️", "%"),
    ] {
        let body = json!({ "location": location, "workType": work_type, "category": "비건" }).to_string();
        let response = Connection::ask(server.address, &post(BASE_INFO, &[], body)).await;
        assert_eq!(response.status(), 200, "{location}: {}", response.text());
    }
}

#[tokio::test]
async fn a_json_body_is_read_with_all_its_liberties() {
    let server = Server::start().await;
    let start = r#""location":"city","workType":"office""#;
    let bodies = [
        format!(r#"{{{start},"category":"VEGAN"}}"#),
        format!(" \r\n\t{{{start},\n\"category\" : \"\\ube44\\uac74\" }}  "),
        format!(r#"{{{start},"category":"MEDIA","category":"VEGAN"}}"#),
        format!(r#"{{{start},"category":[1,{{}}],"category":"VEGAN"}}"#),
        format!(r#"{{{start},"category":"VEGAN","sessionId":null,"adapter":null,"dialect":null}}"#),
        format!(r#"{{{start},"category":"VEGAN","sessionId":"  ","adapter":"","requestId":" "}}"#),
        format!(r#"{{{start},"category":"VEGAN","sessionId":"abc-123","requestId":"r.1","progress":true}}"#),
        // Field report 23.
        format!("\u{feff}{{{start},\"category\":\"VEGAN\"}}"),
        format!(r#"{{{start},"category":"VEGAN","sessionId":"ㅤ","requestId":"\u200b","adapter":"\ufeff"}}"#),
        format!(r#"{{{start},"category":"VEGAN","progress":1,"unknown":{{"a":[[]]}},"errors":"http"}}"#),
    ];
    for body in bodies {
        for kind in [
            "application/json",
            "application/json; charset=UTF-8",
            "Application/JSON",
            "application/vnd.api+json",
        ] {
            let response =
                Connection::ask(server.address, &post(BASE_INFO, &[("Content-Type", kind)], &body)).await;
            assert_eq!(response.status(), 200, "{body}: {}", response.text());
            let answer = response.json();
            assert_eq!(answer["data"]["challenges"][0]["category"], json!("VEGAN"), "{body}");
        }
    }
}

/// Field report 24.
#[tokio::test]
async fn a_message_of_fillers_is_no_message() {
    let server = Server::start().await;
    for blank in ["ㅤㅤ", "\u{200b}", "\u{feff} \u{2800}", "\t\r\n", "\u{1160}\u{115f}"] {
        let target = format!("{FREE_TEXT}?message={}", encode(blank));
        let refused = Connection::ask(server.address, &get(&target, &[])).await;
        assert_eq!(
            (refused.status(), &refused.json()["message"]),
            (400, &json!("message는 필수입니다.")),
            "{blank:?}"
        );
    }
}

#[tokio::test]
async fn places_and_jobs_are_known_in_wide_letters_too() {
    let server = Server::start().await;
    let ask = async |location: &str| {
        let target =
            format!("{BASE_INFO}?category=VEGAN&workType=office&sessionId=s&requestId=r&location={location}");
        read(&Connection::ask(server.address, &get(&target, &[])).await.body())[0].stream().to_owned()
    };
    // The same request: it gets the same answer.
    assert_eq!(ask(&encode("ＣＩＴＹ")).await, ask(&encode("도\u{200b}시")).await);
}
