-- Whose an API token is. A label names a token; whoever has two tokens is still one person, and approves nothing of their
-- own. Tokens made before name nobody: there the label stands for the person.

ALTER TABLE api_token ADD COLUMN person text CHECK (person ~ '^[a-z0-9][a-z0-9._@+-]{0,99}$');
