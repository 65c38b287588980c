{ "data": "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]", "sops": { "version": "3.9.0" } }
