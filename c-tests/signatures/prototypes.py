"""Reads the exported functions of src/overlay and prints them as C declarations.

The compiler then compares each with OpenSSL's own declaration, or with that of sesscache.h.
"""
import pathlib
import re
import sys

C_TYPES = {
    "c_char": "char", "c_int": "int", "c_long": "long", "c_uint": "unsigned int",
    "c_uchar": "unsigned char", "u8": "unsigned char", "c_void": "void", "time_t": "time_t",
    "SSL": "SSL", "SSL_CTX": "SSL_CTX", "SSL_SESSION": "SSL_SESSION", "SSL_METHOD": "SSL_METHOD",
    "Lhash": "LHASH_OF(SSL_SESSION)", "CRYPTO_EX_new": "CRYPTO_EX_new *",
    "CRYPTO_EX_dup": "CRYPTO_EX_dup *", "CRYPTO_EX_free": "CRYPTO_EX_free *",
    "EVP_CIPHER_CTX": "EVP_CIPHER_CTX", "EvpMacCtx": "EVP_MAC_CTX",
    "X509_STORE_CTX": "X509_STORE_CTX", "X509_VERIFY_PARAM": "X509_VERIFY_PARAM",
    "CallbackArg": "void *", "SSL_CIPHER": "SSL_CIPHER",
    "OPENSSL_STACK": "STACK_OF(SSL_CIPHER)",
    "usize": "size_t", "sesscache_stats": "struct sesscache_stats",
}


def split(text):
    """Splits at the commas that are outside of all brackets."""
    parts, depth = [""], 0
    for char in text.replace("->", "\0"):
        depth += (char in "(<") - (char in ")>")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.replace("\0", "->").strip() for part in parts if part.strip()]


def function(text, aliases):
    """A Rust function type from its opening parenthesis on: (return type, [argument types])."""
    depth = 0
    for end, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            break
    arguments = [argument.split(":", 1) if re.match(r"\w+\s*:[^:]", argument) else ["", argument]
                 for argument in split(text[1:end])]
    result = text[end + 1:].strip()
    result = c_type(result[2:].strip(), aliases) if result.startswith("->") else "void"
    return result, [c_type(of.strip(), aliases, name.strip()) for name, of in arguments]


def c_type(rust, aliases, name=""):
    if name == "libctx":  # opaque to us, and not among openssl-sys's types
        return "OSSL_LIB_CTX *"
    if match := re.fullmatch(r"Argument<\s*(.*?),?\s*>", rust, re.S):
        return c_type(match[1].strip(), aliases)
    while rust in aliases:
        rust = aliases[rust]
    if match := re.fullmatch(r"Option<\s*(.*?),?\s*>", rust, re.S):
        return c_type(match[1].strip(), aliases)
    if match := re.match(r'(?:unsafe )?extern "C-unwind" fn\s*', rust):
        result, arguments = function(rust[match.end():], aliases)
        return f"__typeof__({result} (*)({', '.join(arguments) or 'void'}))"
    if match := re.match(r"\*(mut|const) ", rust):
        inner = c_type(rust[match.end():].strip(), aliases)
        return f"{'const ' if match[1] == 'const' else ''}{inner} *"
    return C_TYPES[rust]


def main(root):
    files = sorted(pathlib.Path(root, "src/overlay").glob("*.rs"))
    sources = "\n".join(file.read_text() for file in files)
    stock = pathlib.Path(root, "src/openssl/types.rs").read_text()
    aliases = dict(re.findall(r"pub type (\w+)\s*=\s*(.*?);", stock, re.S))
    for name, parameter, meaning in re.findall(r"pub type (\w+)<(\w+)>\s*=\s*(.*?);", stock, re.S):
        for given in re.findall(rf"\b{name}<(\w+)>", stock):
            aliases[f"{name}<{given}>"] = re.sub(rf"\b{parameter}\b", given, meaning)
    exported = r'#\[unsafe\(no_mangle\)\]\s*pub (?:unsafe )?extern "C-unwind" fn (\w+)(\(.*?)\s*\{\n'
    for name, rest in re.findall(exported, sources, re.S):
        result, arguments = function(rest, aliases)
        print(f"{result} {name}({', '.join(arguments) or 'void'});")


main(sys.argv[1])
