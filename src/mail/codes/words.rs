//! The words that tell a one-time code from other numbers, in many languages.
//!
//! A `~` in front of a word says that it may end a longer one (`Sicherheitscode`), a `~` behind it that letters may follow
//! (`kodunuz`). Other words stand alone, but for a plural `s`. Case does not matter; scripts without case have no words
//! that stand alone, so theirs are found anywhere.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

/// The longest ending that a word marked with `~` may take.
const ENDING_MAX_CHARS: usize = 6;

/// What a word says about the numbers near it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A number near it is most likely a one-time code.
    Strong,
    /// A number near it may be one.
    Weak,
    /// A number right behind it is to be typed in.
    Enter,
    /// A number right behind it is something else.
    Other,
    /// The message is about signing in, or warns not to pass something on.
    Security,
    /// The message is about a journey or a stay, where a code names a booking.
    Booking,
    /// The message is about a price, where a code takes some off.
    Discount,
}

/// A word and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) meaning: Meaning,
}

const WORDS: &[(Meaning, &[&str])] = &[
    (
        Meaning::Strong,
        &[
            // English
            "verification code", "confirmation code", "security code", "login code", "log-in code", "log in code",
            "sign-in code", "sign in code", "signin code", "authentication code", "authorization code",
            "authorisation code", "activation code", "access code", "one-time code", "one time code", "one-time password",
            "one time password", "one-time passcode", "one time passcode", "one-time pin", "one time pin", "otp", "otp code",
            "passcode", "2fa code", "mfa code", "two-factor code", "two-step code", "validation code", "temporary code",
            "temporary login code", "single-use code", "reset code", "recovery code", "backup code", "pairing code",
            "device code", "guard code", "magic code", "6-digit code", "4-digit code", "8-digit code", "six-digit code",
            "verify code", "pickup code", "pick-up code", "collection code", "unlock code", "registration code", "tan",
            "mtan", "mobiletan", "pushtan", "smstan", "chiptan", "itan",
            // German
            "bestätigungscode~", "sicherheitscode~", "einmalcode~", "einmal-code", "einmalpasswort~", "einmalkennwort~",
            "verifizierungscode~", "verifikationscode~", "zugangscode~", "anmeldecode~", "login-code", "logincode",
            "aktivierungscode~", "freischaltcode~", "prüfcode~", "authentifizierungscode~", "abholcode~",
            "wiederherstellungscode~", "zugriffscode~",
            // French
            "code de vérification", "code de confirmation", "code de sécurité", "code d'accès", "code d’accès",
            "code d'activation", "code d’activation", "code de connexion", "code à usage unique", "code unique",
            "code de validation", "code d'authentification", "code d’authentification", "mot de passe à usage unique",
            "code temporaire", "code secret",
            // Spanish, Catalan
            "código de verificación", "codigo de verificacion", "código de confirmación", "código de seguridad",
            "código de acceso", "código de un solo uso", "código de activación", "código de inicio de sesión",
            "clave de un solo uso", "clave dinámica", "contraseña de un solo uso", "código único", "clave de acceso",
            "codi de verificació", "codi de confirmació",
            // Italian
            "codice di verifica", "codice di conferma", "codice di sicurezza", "codice di accesso", "codice monouso",
            "codice di attivazione", "codice otp", "codice temporaneo", "password monouso",
            // Portuguese
            "código de verificação", "codigo de verificacao", "código de confirmação", "código de segurança",
            "código de acesso", "código de ativação", "código de uso único", "senha de uso único", "código de autenticação",
            // Dutch
            "verificatiecode~", "bevestigingscode~", "beveiligingscode~", "inlogcode~", "toegangscode~", "eenmalige code",
            "activeringscode~", "activatiecode~", "ophaalcode~", "controlecode~",
            // Scandinavian languages
            "verifieringskod~", "verifikationskod~", "engångskod~", "säkerhetskod~", "inloggningskod~", "bekräftelsekod~",
            "aktiveringskod~", "engångslösenord~", "bekræftelseskode~", "engangskode~", "sikkerhedskode~", "loginkode~",
            "verificeringskode~", "bekreftelseskode~", "sikkerhetskode~", "verifiseringskode~", "innloggingskode~",
            "engangspassord~", "engangsadgangskode~",
            // Finnish, Estonian
            "vahvistuskoodi~", "turvakoodi~", "kertakäyttökoodi~", "kirjautumiskoodi~", "varmennuskoodi~",
            "tunnuskoodi~", "kinnituskood~", "turvakood~", "noutokoodi~",
            // Polish, Czech, Slovak
            "kod weryfikacyjny", "kod potwierdzający", "kod logowania", "kod jednorazowy", "hasło jednorazowe", "kod dostępu",
            "kodu weryfikacyjnego", "kod bezpieczeństwa", "kod aktywacyjny", "kod odbioru", "ověřovací kód~",
            "potvrzovací kód~", "jednorázový kód~", "bezpečnostní kód~", "přihlašovací kód~", "overovací kód~",
            "potvrdzovací kód~", "jednorazový kód~", "bezpečnostný kód~", "prihlasovací kód~", "jednorázové heslo",
            // Hungarian, Romanian
            "ellenőrző kód~", "megerősítő kód~", "biztonsági kód~", "hitelesítő kód~", "belépési kód~", "egyszeri kód~",
            "cod de verificare", "codul de verificare", "codul tău de verificare", "cod de confirmare",
            "codul de confirmare", "cod de securitate", "cod de acces", "codul de acces",
            // South Slavic languages, in both alphabets
            "verifikacijski kod~", "kod za potvrdu", "sigurnosni kod~", "kod za prijavu", "potvrditvena koda", "kod za verifikaciju",
            "код за потвърждение", "код за вход", "код за верификацију", "код за сигурност",
            // Baltic languages
            "patvirtinimo kod~", "vienkartinis kod~", "saugos kod~", "apstiprinājuma kod~", "verifikācijas kod~", "drošības kod~",
            // Turkish
            "doğrulama kod~", "onay kod~", "güvenlik kod~", "giriş kod~", "tek kullanımlık şifre~", "tek kullanımlık kod~",
            "aktivasyon kod~",
            // Russian, Ukrainian
            "код подтверждения", "кода подтверждения", "код для входа", "код входа", "код безопасности", "проверочный код",
            "одноразовый код", "одноразовый пароль", "код активации", "код доступа", "код авторизации", "код верификации",
            "код підтвердження", "код для входу", "код входу", "код перевірки", "одноразовий код", "одноразовий пароль",
            "код безпеки", "код доступу",
            // Greek
            "κωδικός επαλήθευσης", "κωδικό επαλήθευσης", "κωδικός μιας χρήσης", "κωδικός επιβεβαίωσης", "κωδικό επιβεβαίωσης",
            "κωδικός ασφαλείας", "κωδικός σύνδεσης", "κωδικός πρόσβασης", "κωδικό μιας χρήσης",
            // Arabic, Persian, Urdu, Hebrew
            "رمز التحقق", "رمز التأكيد", "رمز الدخول", "رمز الأمان", "رمز تسجيل الدخول", "كود التحقق", "كود التفعيل",
            "رمز التفعيل", "كلمة المرور لمرة واحدة", "لمرة واحدة", "کد تأیید", "کد تایید", "کد ورود", "کد فعال", "رمز یکبار مصرف",
            "رمز پویا", "تصدیقی کوڈ", "קוד אימות", "קוד האימות", "קוד חד", "קוד הכניסה", "קוד כניסה", "קוד אבטחה",
            "קוד הגישה", "סיסמה חד",
            // Languages of India
            "ओटीपी", "सत्यापन कोड", "पुष्टि कोड", "सुरक्षा कोड", "পুষ্টিকরণ কোড", "যাচাইকরণ কোড", "ওটিপি", "சரிபார்ப்புக் குறியீடு",
            "ధృవీకరణ కోడ్", "पडताळणी कोड",
            // Chinese
            "验证码", "校验码", "动态码", "动态密码", "一次性密码", "安全码", "确认码", "激活码", "登录码", "认证码", "取件码", "提取码",
            "驗證碼", "校驗碼", "動態密碼", "一次性密碼", "安全碼", "確認碼", "啟用碼", "認證碼", "取件碼",
            // Japanese
            "認証コード", "確認コード", "認証番号", "確認番号", "ワンタイムパスワード", "ワンタイムコード", "セキュリティコード",
            "セキュリティーコード", "検証コード", "ログインコード", "アクセスコード", "二段階認証コード",
            // Korean
            "인증번호", "인증 번호", "인증코드", "인증 코드", "확인 코드", "확인코드", "보안 코드", "보안코드", "일회용 비밀번호", "로그인 코드",
            // Vietnamese, Thai, Khmer
            "mã xác minh", "mã xác thực", "mã otp", "mã xác nhận", "mã đăng nhập", "mã bảo mật", "รหัสยืนยัน", "รหัส otp",
            "รหัสตรวจสอบ", "รหัสผ่านครั้งเดียว", "รหัสความปลอดภัย", "លេខកូដផ្ទៀងផ្ទាត់",
            // Indonesian, Malay, Swahili
            "kode verifikasi", "kode otp", "kode keamanan", "kode masuk", "kode konfirmasi", "kod pengesahan", "kod keselamatan",
            "kod otp", "nambari ya uthibitisho",
        ],
    ),
    (
        Meaning::Weak,
        &[
            "~code", "~codes", "pin", "token", "one-time", "~kode~", "~kod~", "~kód~", "~koodi~", "~kood~", "código~", "codigo~",
            "codice~", "codi", "cod", "codul~", "koda", "clave", "код~", "κωδικ~", "رمز", "كود", "کد", "کوڈ", "קוד", "कोड",
            "পিন", "কোড", "குறியீடு", "కోడ్", "密码", "密碼", "口令", "コード", "暗証番号", "パスコード", "코드", "비밀번호",
            "รหัส", "mã", "jelszó", "пин~", "пароль", "hasło", "heslo", "adgangskode", "engangs~",
        ],
    ),
    (
        Meaning::Enter,
        &[
            "enter", "use", "type", "type in", "input", "geben sie", "gib", "gebruik", "voer", "wpisz", "użyj", "saisissez",
            "entrez", "utilisez", "introduce", "introduzca", "ingresa", "usa", "inserisci", "digite", "insira", "ange", "använd",
            "indtast", "brug", "skriv inn", "bruk", "syötä", "käytä", "введите", "введіть", "εισαγάγετε", "أدخل", "استخدم", "הזן",
            "הזינו", "输入", "輸入", "nhập", "กรอก", "masukkan", "gunakan", "zadejte", "zadajte", "adja meg", "introduceți",
            "unesite", "въведете", "įveskite", "ievadiet", "sisesta",
        ],
    ),
    (
        Meaning::Other,
        &[
            // Codes that are no one-time codes
            "zip code", "zipcode", "postal code", "post code", "postcode", "area code", "country code", "sort code", "bank code",
            "branch code", "swift code", "error code", "exit code", "status code", "return code", "returns code",
            "returned code", "reply code", "response code", "diagnostic-code", "source code", "qr code", "qr-code", "bar code",
            "barcode", "dress code", "product code", "item code", "colour code", "color code", "tax code", "code of conduct",
            "code review", "code reviewer", "shift code", "approval code", "hotel confirmation code", "booking code",
            "reservation code", "code yellow", "code postal", "code-barres", "código postal", "codice postale",
            "codice fiscale", "codice sconto", "postnummer", "postleitzahl", "plz", "unicode", "encode", "decode", "vscode",
            "buchungscode~", "kod pocztowy", "почтовый индекс", "индекс", "邮编", "郵遞區號", "郵便番号", "〒", "우편번호", "postikoodi",
            "merchant code", "hs code", "code section", "codec",
            // Codes that take something off a price
            "discount code", "promo code", "promotion code", "promotional code", "coupon code", "voucher code", "referral code",
            "gift card code", "offer code", "rabattcode~", "gutscheincode~", "aktionscode~", "code promo", "kortingscode~",
            "código promocional", "código de descuento", "código de desconto", "cupom", "rabattkod~", "rabatkode~", "rabattkode~",
            "alennuskoodi~", "kod rabatowy", "slevový kód~", "промокод~", "indirim kodu", "kode promo", "优惠码", "優惠碼",
            "クーポンコード", "할인 코드", "mã giảm giá",
            // Things with a number
            "order", "order number", "order no", "invoice", "receipt", "ticket", "ticket number", "tracking", "tracking number",
            "reference", "ref", "case", "case id", "request", "account", "account number", "customer", "customer number",
            "client number", "member number", "membership", "employee no", "phone", "tel", "telephone", "mobile", "fax", "call",
            "dial", "dial-in", "helpdesk", "ext", "conference id", "meeting id", "session", "serial", "sku", "version", "build",
            "release", "station", "room", "flight", "seat", "e-ticket", "booking", "reservation", "confirmation number",
            "transaction", "transaction id", "authorization", "authorisation", "terminal", "card", "ending", "ending in",
            "amount", "total", "balance", "price", "company number", "register", "registered", "vat", "iban", "po box", "suite",
            "policy", "contract", "line", "commit", "page", "pr", "number plate", "licence plate", "membership number", "player id", "user id", "queue id", "station no", "form", "gate", "stop to", "copyright", "frn",
            "bestellnummer", "bestellung", "auftragsnr", "auftrag", "auftragsnummer", "rechnung", "rechnungsnummer",
            "kundennummer", "kunden-nr", "vertrag", "sendungsnummer", "telefon", "konto", "betrag", "summe", "hrb", "vorgang",
            "commande", "facture", "montant", "colissimo", "suivi", "rcs", "siret", "téléphone", "numéro de commande",
            "pedido", "factura", "importe", "teléfono", "envío", "fatura", "valor", "cnpj", "cep", "nif", "ordine", "fattura",
            "importo", "p.iva", "telefono", "bestelnummer", "factuur", "kvk", "klantnummer", "zamówienie", "faktura", "nip",
            "regon", "objednávka", "ičo", "ordernummer", "org.nr", "ordrenummer", "cvr", "tilausnumero", "y-tunnus", "sipariş",
            "заказ~", "счет", "сумма", "карта", "трек-номер", "телефон", "инн", "огрн", "замовлення", "παραγγελία", "رقم الطلب",
            "رقم", "מספר הזמנה", "订单号", "订单", "單號", "订单编号", "快递单号", "客服", "客服电话", "客服電話", "电话", "電話", "实付", "尾号",
            "icp备", "注文番号", "お客様番号", "受付番号", "電話番号", "合計", "주문번호", "주문", "고객센터", "전화", "pesanan", "nomor",
            "đơn hàng", "hotline",
        ],
    ),
    (
        Meaning::Security,
        &[
            "expire~", "do not share", "don't share", "never share", "do not give", "never give", "verify your", "log in", "sign in",
            "valid for", "valid until", "gültig", "verfällt", "ne le partagez", "ne le communiquez", "valable", "caduca",
            "no lo compartas", "não compartilhe", "scade", "non condividerlo", "geldig", "verloopt", "ważny", "wygaśnie", "platí",
            "giltig", "udløber", "gyldig", "voimassa", "geçerli~", "никому", "действителен", "дійсний", "有效", "有効期限", "勿",
            "유효", "berlaku", "jangan", "hết hạn", "érvényes", "expiră", "ignore this",
        ],
    ),
    (
        Meaning::Booking,
        &[
            "booking", "reservation", "itinerary", "check-in", "check-out", "flight", "e-ticket", "your stay", "departure",
            "buchung", "réservation", "reserva", "prenotazione", "boeking", "航班", "予約", "예약", "бронирован~",
        ],
    ),
    (
        Meaning::Discount,
        &[
            "discount", "% off", "coupon", "voucher", "promo", "at checkout", "save up to", "referral", "rabatt", "gutschein",
            "réduction", "descuento", "desconto", "sconto", "korting", "скидк~", "zniżk~", "indirim", "折扣", "优惠", "クーポン",
            "할인", "gift card",
        ],
    ),
];

/// How a pattern may stand in a longer word.
struct Pattern {
    meaning: Meaning,
    may_end_a_word: bool,
    may_be_inflected: bool,
}

struct Dictionary {
    automaton: Option<AhoCorasick>,
    patterns: Vec<Pattern>,
}

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
    let mut texts = Vec::new();
    let mut patterns = Vec::new();
    for (meaning, words) in WORDS {
        for marked in *words {
            let word = marked.trim_matches('~');
            for spelling in spellings(word) {
                texts.push(spelling);
                patterns.push(Pattern {
                    meaning: *meaning,
                    may_end_a_word: marked.starts_with('~'),
                    may_be_inflected: marked.ends_with('~'),
                });
            }
        }
    }
    let automaton = AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest).build(texts);
    Dictionary { automaton: automaton.ok(), patterns }
});

/// A word in small letters, with a capital, and in capitals. The automaton knows the case of ASCII letters alone.
pub(in crate::mail) fn spellings(word: &str) -> Vec<String> {
    let mut spellings = vec![word.to_owned()];
    let mut chars = word.chars();
    let capital = chars.next().map(|first| first.to_uppercase().chain(chars).collect());
    for spelling in capital.into_iter().chain([word.to_uppercase()]) {
        if !spellings.iter().any(|known| known.eq_ignore_ascii_case(&spelling)) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// All words of `text`, in order; where two overlap, the one that begins first, and of those the longest.
pub(super) fn find(text: &str) -> Vec<Word> {
    let Some(automaton) = &DICTIONARY.automaton else { return Vec::new() };
    automaton
        .find_iter(text)
        .filter_map(|found| {
            let pattern = &DICTIONARY.patterns[found.pattern().as_usize()];
            stands_as(text, found.start(), found.end(), pattern).then_some(Word {
                start: found.start(),
                end: found.end(),
                meaning: pattern.meaning,
            })
        })
        .collect()
}

fn stands_as(text: &str, start: usize, end: usize, pattern: &Pattern) -> bool {
    let (before, behind) = (&text[..start], &text[end..]);
    let begins = pattern.may_end_a_word || !joins(before.chars().next_back(), text[start..].chars().next());
    let last = text[..end].chars().next_back();
    if !begins || !joins(behind.chars().next(), last) {
        return begins;
    }
    let ending = behind.chars().take(ENDING_MAX_CHARS + 1).take_while(|c| is_cased(*c)).count();
    let is_plural = behind.starts_with(['s', 'S']) && ending == 1;
    is_plural || (pattern.may_be_inflected && (1..=ENDING_MAX_CHARS).contains(&ending))
}

/// Whether two characters that stand side by side are of one word. In scripts without case words are not parted.
fn joins(a: Option<char>, b: Option<char>) -> bool {
    a.is_some_and(|c| is_cased(c)) && b.is_some_and(|c| is_cased(c))
}

pub(super) fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meanings(text: &str) -> Vec<Meaning> {
        find(text).into_iter().map(|word| word.meaning).collect()
    }

    #[test]
    fn words_are_found_in_any_case_and_only_where_they_are_words() {
        for (text, expected) in [
            ("Your Verification Code:", &[Meaning::Strong][..]),
            ("SICHERHEITSCODE", &[Meaning::Strong]),
            ("Haustürcode 12", &[Meaning::Weak]),
            ("postcode, Codec, decoded, encoder", &[Meaning::Other, Meaning::Other]),
            ("KODUNUZ", &[Meaning::Weak]),
            ("ваш КОД ПОДТВЕРЖДЕНИЯ", &[Meaning::Strong]),
            ("您的驗證碼是", &[Meaning::Strong]),
            ("pins and a pinball", &[Meaning::Weak]),
            ("recovery codes", &[Meaning::Strong]),
            ("opinion", &[]),
        ] {
            assert_eq!(meanings(text), expected, "{text}");
        }
    }
}
