// A back end with silenceper/wechat: it does what it is told on stdin, a JSON line each, and answers on stdout.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"

	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	"github.com/silenceper/wechat/v2/miniprogram"
	"github.com/silenceper/wechat/v2/miniprogram/business"
	"github.com/silenceper/wechat/v2/miniprogram/config"
)

type command struct {
	Do            string `json:"do"`
	Code          string `json:"code"`
	SessionKey    string `json:"session_key"`
	EncryptedData string `json:"encryptedData"`
	Iv            string `json:"iv"`
}

type refusal struct {
	Errcode *int   `json:"errcode"`
	Message string `json:"message"`
}

type answer struct {
	Result interface{} `json:"result"`
	Error  *refusal    `json:"error"`
}

// Some errors of the SDK are values with a number, and some are a text that has it.
var errcodeInText = regexp.MustCompile(`errcode=(-?\d+)`)

func main() {
	appid, secret, tokens := os.Args[1], os.Args[2], os.Args[3]
	sdk := miniprogram.NewMiniProgram(&config.Config{
		AppID:       appid,
		AppSecret:   secret,
		Cache:       cache.NewMemory(),
		UseStableAK: tokens == "stable_token",
	})
	if err := serve(sdk, json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)); err != io.EOF {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(sdk *miniprogram.MiniProgram, commands *json.Decoder, answers *json.Encoder) error {
	for {
		var told command
		if err := commands.Decode(&told); err != nil {
			return err
		}
		result, err := carryOut(sdk, told)
		if err := answers.Encode(answer{result, refusalOf(err)}); err != nil {
			return err
		}
	}
}

func carryOut(sdk *miniprogram.MiniProgram, told command) (interface{}, error) {
	switch told.Do {
	case "log_in":
		return logIn(sdk, told.Code)
	case "access_token":
		return sdk.GetAuth().GetAccessToken()
	case "renew_token":
		return nil, forgetToken(sdk)
	case "phone_number":
		return sdk.GetBusiness().GetPhoneNumber(&business.GetPhoneNumberRequest{Code: told.Code})
	case "decrypt":
		return sdk.GetEncryptor().Decrypt(told.SessionKey, told.EncryptedData, told.Iv)
	}
	return nil, fmt.Errorf("no such command: %s", told.Do)
}

func logIn(sdk *miniprogram.MiniProgram, code string) (interface{}, error) {
	session, err := sdk.GetAuth().Code2Session(code)
	return map[string]string{
		"openid":      session.OpenID,
		"session_key": session.SessionKey,
		"unionid":     session.UnionID,
	}, err
}

// The SDK has no method for this: its cache is the caller's, and so is what it keeps there.
func forgetToken(sdk *miniprogram.MiniProgram) error {
	settings := sdk.GetContext().Config
	return settings.Cache.Delete(credential.CacheKeyMiniProgramPrefix + "_access_token_" + settings.AppID)
}

func refusalOf(err error) *refusal {
	if err == nil {
		return nil
	}
	found := errcodeInText.FindStringSubmatch(err.Error())
	if found == nil {
		return &refusal{nil, err.Error()}
	}
	errcode, _ := strconv.Atoi(found[1])
	return &refusal{&errcode, err.Error()}
}
