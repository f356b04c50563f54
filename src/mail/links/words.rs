//! The words that tell what a link is for, in many languages. A word in front of which, or behind which, a letter stands
//! counts too: `Bestätigungslink`, `confirmación`.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::mail::codes::words::spellings;

/// What a word says about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It finishes what was begun: confirm, sign in, set a password, accept.
    Act,
    /// It leads on: view the order, track the parcel.
    View,
    /// It leads to something beside the matter of the message.
    Aside,
    /// It ends the sending of such mail.
    Unsubscribe,
}

/// Of the text of a link, or of what stands before it.
const TEXT: &[(Purpose, &[&str])] = &[
    (
        Purpose::Act,
        &[
            "confirm", "verify", "verification", "validate", "activate", "activation", "reset", "change my password",
            "change your password", "change password", "new password", "set password", "set your password", "set a password",
            "choose a password", "create password", "sign in", "sign-in", "log in", "log me in", "login", "accept", "approve",
            "authorize", "authorise", "unlock", "complete", "finish", "join", "subscribe me", "review document", "review and sign",
            "sign document", "download", "pay ", "pay now", "restore", "recover", "claim", "get started", "continue to",
            "yes, ", "magic link", "set up",
            "bestätigen", "bestätige", "bestätigung", "aktivieren", "freischalten", "zurücksetzen", "anmelden", "einloggen",
            "passwort ändern", "neues passwort", "annehmen", "herunterladen", "abschließen", "bezahlen", "verifizieren",
            "confirmer", "confirmez", "valider", "vérifier", "activer", "réinitialiser", "se connecter", "connexion", "accepter",
            "télécharger", "rejoindre", "définir", "payer",
            "verificar", "activar", "restablecer", "iniciar sesión", "aceptar", "descargar", "entrar", "acceder", "unirse",
            "cambiar contraseña", "validar", "ativar", "redefinir", "fazer login", "aceitar", "baixar", "acessar",
            "conferma", "verifica", "attiva", "reimposta", "accedi", "accetta", "scarica", "completa",
            "bevestig", "verifieer", "activeer", "wachtwoord", "inloggen", "accepteer", "downloaden",
            "potwierdź", "zweryfikuj", "aktywuj", "zresetuj", "ustaw nowe", "zaloguj", "akceptuj", "pobierz", "dołącz",
            "potvrdit", "potvrďte", "ověřit", "aktivovat", "obnovit heslo", "přihlásit", "přijmout", "potvrdiť", "overiť",
            "bekräfta", "verifiera", "aktivera", "återställ", "logga in", "acceptera", "ladda ner",
            "bekræft", "aktiver", "nulstil", "log ind", "accepter", "bekreft", "tilbakestill", "logg inn", "godta",
            "vahvista", "aktivoi", "nollaa", "kirjaudu", "hyväksy", "kinnita", "lähtesta",
            "onayla", "doğrula", "etkinleştir", "sıfırla", "giriş yap", "kabul et",
            "подтвер", "активир", "сбросить", "войти", "принять", "скачать", "восстановить", "сменить пароль", "новый пароль",
            "підтверд", "активув", "скинути", "увійти", "прийняти",
            "επιβεβαίωσ", "επαλήθευσ", "ενεργοπο", "επαναφορά", "σύνδεση", "αποδοχή",
            "megerősít", "aktivál", "jelszó visszaállítása", "belépés", "bejelentkezés", "confirmă", "activează", "resetează",
            "potvrdi", "aktiviraj", "потвърди", "активирай", "patvirtin", "apstiprin",
            "تأكيد", "تفعيل", "إعادة تعيين", "تسجيل الدخول", "قبول", "تحقق", "تایید", "فعال", "ورود", "אמת", "אישור", "אפס", "התחבר",
            "הפעל", "पुष्टि", "सत्यापित", "सक्रिय", "रीसेट", "लॉग इन",
            "激活", "确认", "验证", "重置", "登录", "接受", "确定", "啟用", "確認", "驗證", "重設", "登入", "接受邀請", "完了", "認証", "ログイン",
            "再設定", "承認", "有効化", "登録を完了", "인증", "확인", "활성화", "재설정", "로그인", "수락",
            "xác nhận", "xác minh", "kích hoạt", "đặt lại", "đăng nhập", "ยืนยัน", "เข้าสู่ระบบ", "รีเซ็ต", "verifikasi", "konfirmasi",
            "aktifkan", "atur ulang", "masuk", "sahkan",
        ],
    ),
    (
        Purpose::View,
        &[
            "view", "track", "see your", "open", "check activity", "check your", "review", "continue", "go to", "manage booking",
            "details", "status", "invoice", "bestellung ansehen", "sendung verfolgen", "suivre", "voir ma commande", "ver pedido",
            "seguir", "bekijk", "zobacz", "zobrazit", "visa order", "se ordre", "посмотреть", "отследить", "查看", "詳細", "확인하기",
        ],
    ),
    (
        Purpose::Aside,
        &[
            "privacy", "terms", "help", "support", "contact", "faq", "learn more", "read more", "continue reading", "view in browser",
            "view online", "view this email", "shop now", "shop the", "start shopping", "book now", "invite friends", "see all",
            "listen", "blog", "preferences", "settings", "notification", "cancel", "revert", "let us know", "report", "wasn't me",
            "not you", "didn't", "did not", "did *not*", "if you do not", "legal", "app store", "google play", "download the app",
            "get the app", "download our app", "terms of", "imprint", "datenschutz", "impressum", "hilfe", "agb",
            "im browser", "confidentialité", "mentions légales", "aide", "privacidad", "ayuda", "privacidade", "ajuda", "privacy policy", "quick start",
            "docs", "documentation", "change how often", "facebook", "twitter", "instagram", "linkedin", "youtube", "tiktok", "find your local",
            "confidential", "お問い合わせ", "隐私", "帮助", "개인정보", "конфиденциальност", "помощ",
        ],
    ),
    (
        Purpose::Unsubscribe,
        &[
            "unsubscribe", "opt out", "opt-out", "stop receiving", "no longer wish", "email preferences", "abmelden", "abbestellen",
            "abmeldung", "austragen", "désabonner", "désinscrire", "désinscription", "désabonnement", "darse de baja", "darte de baja",
            "cancelar suscripción", "cancelar la suscripción", "cancelar subscrição", "cancelar inscrição", "descadastr",
            "annulla iscrizione", "disiscriv", "cancella iscrizione", "uitschrijven", "afmelden", "wypisz", "zrezygnuj z",
            "odhlásit", "odhlásiť", "avregistrera", "avprenumerera", "afmeld", "avmeld", "peruuta tilaus", "tilauksen peruutus",
            "aboneliği iptal", "abonelikten", "отписаться", "отказаться от рассылки", "відписатися", "διαγραφή από", "κατάργηση εγγραφής",
            "leiratkoz", "dezabon", "إلغاء الاشتراك", "הסר", "ביטול הרשמה", "सदस्यता समाप्त", "退订", "退訂", "取消订阅", "取消訂閱",
            "配信停止", "購読解除", "수신거부", "수신 거부", "구독 취소", "hủy đăng ký", "ยกเลิกการรับ", "berhenti berlangganan",
        ],
    ),
];

/// Of the address itself.
const ADDRESS: &[(Purpose, &[&str])] = &[
    (
        Purpose::Act,
        &[
            "confirm", "verif", "valid", "activat", "aktiv", "reset", "recover", "password", "passwort", "passwd", "magic",
            "login", "log-in", "log_in", "signin", "sign-in", "sign_in", "auth", "token=", "invit", "accept", "unlock",
            "optin", "opt-in", "signup", "register", "regist/", "callback", "otp", "onboard", "approve", "bestaetig",
            "losenord", "heslo", "haslo", "sifre", "senha", "conferma", "bevestig", "overeni", "checkout/pay", "signing",
        ],
    ),
    (
        Purpose::Aside,
        &[
            "/privacy", "/terms", "/help", "/support", "/contact", "/faq", "/legal", "/blog", "/docs", "docs.", "help.",
            "support.", "/settings", "/preferences", "/security", "facebook.com", "twitter.com", "x.com/", "instagram.com",
            "linkedin.com", "youtube.com", "apps.apple.com", "play.google.com", "utm_campaign", "utm_source",
        ],
    ),
    (
        Purpose::Unsubscribe,
        &["unsub", "optout", "opt-out", "opt_out", "/unsubscribe", "list-manage", "abmelden", "desinscri", "email-preferences"],
    ),
];

/// The words of one vocabulary.
struct Vocabulary {
    automaton: Option<AhoCorasick>,
    purposes: Vec<Purpose>,
}

impl Vocabulary {
    fn new(words: &[(Purpose, &[&str])]) -> Self {
        let mut texts = Vec::new();
        let mut purposes = Vec::new();
        for (purpose, words) in words {
            for spelling in words.iter().flat_map(|word| spellings(word)) {
                texts.push(spelling);
                purposes.push(*purpose);
            }
        }
        let mut builder = AhoCorasick::builder();
        let automaton = builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest).build(texts);
        Self { automaton: automaton.ok(), purposes }
    }

    fn purposes(&self, text: &str) -> Purposes {
        let mut found = Purposes::default();
        for place in self.automaton.iter().flat_map(|automaton| automaton.find_iter(text)) {
            match self.purposes[place.pattern().as_usize()] {
                Purpose::Act => found.act = Some(place.end()),
                Purpose::View => found.view = true,
                Purpose::Aside => found.aside = Some(place.end()),
                Purpose::Unsubscribe => found.unsubscribe = true,
            }
        }
        found
    }
}

/// What the words of a text say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Purposes {
    /// Where the last such word ends.
    pub(super) act: Option<usize>,
    pub(super) view: bool,
    pub(super) aside: Option<usize>,
    pub(super) unsubscribe: bool,
}

static OF_TEXT: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::new(TEXT));
static OF_ADDRESS: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::new(ADDRESS));

/// What a text says about the link that it is on, or before.
pub(super) fn of_text(text: &str) -> Purposes {
    OF_TEXT.purposes(text)
}

/// What an address says about itself.
pub(super) fn of_address(address: &str) -> Purposes {
    OF_ADDRESS.purposes(address)
}
