use super::*;

fn values(subject: &str, text: &str) -> Vec<String> {
    find(subject, text, &Page::default()).into_iter().map(|code| code.value).collect()
}

fn of_html(html: &str) -> Vec<String> {
    find("", "", &Page::read(html)).into_iter().map(|code| code.value).collect()
}

#[test]
fn a_code_is_read_however_it_is_written() {
    for (text, value) in [
        ("Your code is 482913.", "482913"),
        ("Your code is 482 913", "482913"),
        ("Your code: 482-913", "482913"),
        ("Your code is 4 8 2 9 1 3", "482913"),
        ("Your code is ４８２９１３", "482913"),
        ("رمز التحقق: ٤٨٢٩١٣", "482913"),
        ("आपका कोड: ४८२९१३", "482913"),
        ("Your code is 4\u{200b}8\u{200b}2\u{200b}9", "4829"),
        ("Your code is G-482913", "G-482913"),
        ("Your code is AB12-CD34", "AB12-CD34"),
        ("Your code is AB12 CD34", "AB12 CD34"),
        ("Use 847291 to log in.", "847291"),
        ("FA-482913 is your code", "FA-482913"),
        ("FB-48291 is your security code", "FB-48291"),
        ("Your code is a7k2p9", "a7k2p9"),
        ("Your code: XKQTPW", "XKQTPW"),
        ("您的验证码是482913，请勿泄露", "482913"),
        ("482913 is your verification code", "482913"),
        ("Your verification code is 2048.", "2048"),
    ] {
        assert_eq!(values("", text), [value], "{text}");
    }
}

#[test]
fn other_numbers_are_no_codes() {
    for text in [
        "Your code was used on 2026-11-19 at 09:41 from 203.0.113.77.",
        "Order 482913, your zip code is 94107.",
        "Code review of #482913, colour #a1b2c3, call +1 415 555 0134",
        "Your code saves you 482913 EUR or $5000.",
        "Use code WELCOME15 at checkout for a discount",
        "Booking code: K7FQ2P for your flight, check-in opens soon",
        "Version 4.82.913 of the code, https://a.example/?code=482913",
        "Error code 404913",
        "Your code word for GB33 BUKB 2020 1555 5555 55",
        "YOUR CODE IS BELOW",
    ] {
        assert_eq!(values("", text), [""; 0], "{text}");
    }
}

#[test]
fn a_number_of_something_else_beside_a_code_is_not_taken_for_it() {
    for (text, value) in [
        ("Your order 482913 is ready, pickup code: 7741.", "7741"),
        ("Order no. 482913, pickup code: 5512.", "5512"),
        ("Bestellung Nr. 482913, Abholcode: 5512", "5512"),
        ("Customer ID 482913, access code 5512", "5512"),
        ("Seu pedido 482913 e código de acesso 7741", "7741"),
        ("Bestelling 482913 is klaar, ophaalcode: 7741", "7741"),
        ("Welcome to our app. 482913 is your code", "482913"),
        ("Account ending 4123. 482913 is your code NOW", "482913"),
        ("Dear customer 482913 is your code, order 7741", "482913"),
        ("Kundennummer 10293847 Code 482913", "482913"),
        ("Your ticket 48291377 (PIN 6203)", "6203"),
    ] {
        assert_eq!(values("", text).first().map(String::as_str), Some(value), "{text}");
    }
    assert_eq!(values("", "Invoice no. 482913, token 1 of 2"), [""; 0]);
}

#[test]
fn a_cell_or_a_block_for_each_digit_is_one_code() {
    let cells = "<p>Your code</p><table><tr><td>4</td>\n <td>8</td><td>2</td><td>9</td></tr></table>";
    let spans = "Your code: <span>4</span> <span>8</span> <span>2</span> <span>9</span>";
    let blocks = "Your code:<div>4</div><div>8</div><div>2</div><div>9</div>";
    for html in [cells, spans, blocks] {
        assert_eq!(of_html(html), ["4829"], "{html}");
    }
}

#[test]
fn a_label_says_what_a_number_is() {
    assert_eq!(of_html("<tr><td>Order<td>104829</tr><tr><td>Security code<td>77410</tr>"), ["77410"]);
    assert_eq!(of_html("<tr><td>Parcel<td>104829<td>Pickup code<td>7741</tr>")[0], "7741");
    assert_eq!(values("", "Parcel\n104829\nPickup code: 7741\n")[0], "7741");
    assert_eq!(values("Your code", "Order number\n\n104829\n"), [""; 0]);
    assert_eq!(values("Your code", "104829\n"), ["104829"]);
    assert_eq!(values("", "Your recovery codes:\n1. ab12-cd34\n2. ef56-gh78\n"), ["ab12-cd34", "ef56-gh78"]);
}

#[test]
fn what_is_hidden_is_no_code() {
    assert_eq!(of_html("<div style='display:none'>Your code is 111111</div>Your code is 482913"), ["482913"]);
}

#[test]
fn the_best_comes_first_and_says_where_it_stands() {
    let page = Page::read("<p>Your verification code:</p><h1>482913</h1><p>Backup code 55210934</p>");
    let codes = find("482913 is your code", "", &page);
    assert_eq!(codes[0].value, "482913");
    assert_eq!((codes[0].source, codes[0].score), (CodeSource::Html, 98));
    assert_eq!(codes[0].context, "Your verification code: 482913 Backup code 55210934");
    assert_eq!(codes.iter().map(|code| &*code.value).collect::<Vec<_>>(), ["482913", "55210934"]);
    assert_eq!(values("[Lumora] 482913", "Your verification code is in the subject."), ["482913"]);
    assert_eq!(find("Your code: 901 442", "", &Page::default())[0].source, CodeSource::Subject);
}

#[test]
fn there_are_never_more_than_a_few() {
    let list: String = (0..40).map(|n| format!("{}\n", 48_291_300 + n * 17)).collect();
    assert_eq!(values("Your backup codes", &format!("Backup codes:\n{list}")).len(), CODES_MAX);
}
