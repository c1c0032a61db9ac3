-- Keys that are published, known at every gate, and only then sign; and secrets that all processes share.

ALTER TABLE signing_key DROP CONSTRAINT signing_key_state_check;
ALTER TABLE signing_key
    -- Retired keys sign no more and are believed; ended ones are forgotten, since every card that they signed is over.
    ADD CONSTRAINT signing_key_state_check CHECK (state IN ('published', 'active', 'retired', 'ended', 'revoked')),
    ADD COLUMN activated_at timestamptz,
    ADD COLUMN retired_at   timestamptz,
    -- Who asked that it sign as soon as every gate has it; null is "when somebody activates it".
    ADD COLUMN rotation_by  text;
UPDATE signing_key SET activated_at = created_at WHERE state IN ('active', 'retired');
-- When those retired is not known any more. Today is never too early: no card that they signed is younger.
UPDATE signing_key SET retired_at = now() WHERE state = 'retired';
CREATE UNIQUE INDEX signing_key_one_rotation ON signing_key (tenant, purpose)
    WHERE state = 'published' AND rotation_by IS NOT NULL;

-- The number of each feed that told the gates of a key: who has applied it knows the key.
CREATE TABLE key_publication (
    tenant            text NOT NULL,
    kid               text NOT NULL,
    area              text NOT NULL,
    epoch             uuid NOT NULL,
    number            bigint NOT NULL,
    PRIMARY KEY (tenant, kid, area),
    FOREIGN KEY (tenant, kid) REFERENCES signing_key (tenant, kid),
    FOREIGN KEY (tenant, area) REFERENCES feed (tenant, area)
);
ALTER TABLE key_publication ENABLE ROW LEVEL SECURITY;
ALTER TABLE key_publication FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON key_publication USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant));
GRANT SELECT, INSERT ON key_publication TO rescard_app;

-- Secrets of the platform itself, which no tenant may see: sealed, the same for all its processes.
CREATE TABLE platform_secret (
    name              text PRIMARY KEY,
    sealed            bytea NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE platform_secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE platform_secret FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_only ON platform_secret
    USING (current_setting('rescard.tenant', true) = '*') WITH CHECK (current_setting('rescard.tenant', true) = '*');
GRANT SELECT, INSERT, UPDATE ON platform_secret TO rescard_app;
