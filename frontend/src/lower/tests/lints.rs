//! Warnings: which rule finds what.

use super::{case, image};

fn check(text: &str, expected: &[&str]) {
    let lowered = case(text).image("arm", {
        let mut config = image("{}", 1);
        config.platform = Some("linux/arm64".parse().unwrap());
        config
    });
    let found: Vec<String> =
        lowered.good().warnings.iter().map(|warning| format!("{}: {}", warning.code, warning.message)).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn names_and_casing() {
    check(
        "FROM scratch AS A\nfrom a\n",
        &[
            "StageNameCasing: Stage name 'A' should be lowercase",
            "ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)",
        ],
    );
    check(
        "FROM scratch as a\nFROM scratch AS a\nFROM scratch AS context\n",
        &[
            "FromAsCasing: 'as' and 'FROM' keywords' casing do not match",
            "DuplicateStageName: Duplicate stage name \"a\", stage names should be unique",
            "ReservedStageName: Stage name should not use the same name as reserved stage \"context\"",
        ],
    );
    check(
        "from scratch\nUser a\nenv a=b\n",
        &["ConsistentInstructionCasing: Command 'User' should match the case of the command majority (lowercase)"],
    );
}

#[test]
fn commands() {
    check(
        "FROM scratch\nCMD a\nCMD [\"b\"]\n",
        &[
            "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used",
        ],
    );
    check("FROM scratch\nSHELL [\"a\"]\nENTRYPOINT b\n", &[]);
    check(
        "FROM scratch\nMAINTAINER x\n",
        &["MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label"],
    );
}

#[test]
fn variables() {
    check(
        "FROM scratch\nENV name=x\nENV y=$nmae\nLABEL a $a\n",
        &[
            "UndefinedVar: Usage of undefined variable '$nmae' (did you mean $name?)",
            "LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
            "UndefinedVar: Usage of undefined variable '$a'",
        ],
    );
    check("FROM scratch\nARG a\nENV b=$a\n", &[]);
    check(
        "FROM scratch\nARG DB_PASSWORD TOKEN_FILE\nENV my_key=1\n",
        &[
            "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"DB_PASSWORD\")",
            "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"my_key\")",
        ],
    );
}

#[test]
fn from() {
    check(
        "ARG NAME=scratch\nFROM $NAME$NMAE\n",
        &["UndefinedArgInFrom: FROM argument 'NMAE' is not declared (did you mean NAME?)"],
    );
    check(
        "FROM --platform=$TARGETPLATFORM scratch\n",
        &[
            "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        ],
    );
    check(
        "FROM --platform=linux/amd64 scratch AS x\nFROM --platform=linux/amd64 scratch AS amd64\n",
        &["FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\""],
    );
    check(
        "FROM arm\n",
        &[
            "InvalidBaseImagePlatform: Base image arm was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build",
        ],
    );
    let found = case("ARG TAG\nFROM busybox:$TAG\n").arg("TAG", "1").image("busybox:1", image("{}", 1)).good();
    assert_eq!(found.warnings[0].message, "Default value for ARG busybox:$TAG results in empty or invalid base image name");
}

#[test]
fn others() {
    check(
        "FROM scratch\nWORKDIR a\nWORKDIR b\n",
        &["WorkdirRelativePath: Relative workdir \"a\" can have unexpected results if the base image changes"],
    );
    check(
        "FROM scratch\nEXPOSE 1/TCP 2:3\n",
        &[
            "ExposeProtoCasing: Defined protocol '1/TCP' in EXPOSE instruction should be lowercase",
            "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '2:3'",
        ],
    );
    check(
        "# check=experimental=InvalidDefinitionDescription\n# nothing\nARG a\nFROM scratch\n",
        &["InvalidDefinitionDescription: Comment for ARG should follow the format: `# a <description>`"],
    );
    check("# check=skip=StageNameCasing\nFROM scratch AS A\n", &[]);
}

#[test]
fn findings_can_fail_the_build() {
    let error = case("# check=error=true\nFROM scratch AS A\n").bad();
    assert!(error.contains("lint violation found for rules: StageNameCasing"), "{error}");
    let text = "FROM scratch AS A\n";
    assert!(case(text).arg("BUILDKIT_DOCKERFILE_CHECK", "error=true").lower().is_err());
    assert!(case(text).arg("BUILDKIT_DOCKERFILE_CHECK", "skip=all;error=true").good().warnings.is_empty());
}

#[test]
fn newer_syntax_is_noticed() {
    check("# syntax=docker/dockerfile:1.7-labs\nFROM scratch\n", &[]);
    check(
        "# syntax=docker/dockerfile:1.99\nFROM scratch\n",
        &["newer-syntax: the syntax `docker/dockerfile:1.99` is newer than 1.26, which is built in"],
    );
}
